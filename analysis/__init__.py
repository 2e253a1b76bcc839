"""Questions asked of a model and a method; the answers are tidy DataFrames.

All public names are importable from here and are loaded at their first use: `import analysis` itself loads nothing.
Rooms, in the order of imports: statistics, models, scenes, training, residual_stream, theorem, group_impact, criteria,
position, comparison, answers, efficiency, figures, studies, lmms, report. A room imports only rooms before it.
"""

from importlib import import_module

_NAMES = {  # module -> its public names
    "confirmation": "confirmatory_seed",
    "statistics.grids": "TokenGrid grid_side",
    "statistics.studentised": "bootstrap_interval",
    "statistics.proportions": "proportion_interval",
    "statistics.intervals": "mean_by_group summarise_layers criterion_minus_baseline",
    "models.loaded": "Loaded",
    "models.text": "LoadedText",
    "models.loading": "EMBEDDED load",
    "scenes.mosaic": "PICTURE_SIDES Digit Scene",
    "scenes.question_kinds": "QUESTION_KINDS",
    "scenes.facts": "TextQuestion TextScene text_sample",
    "scenes.questions": "Question Questions questions_each sample",
    "scenes.picture_size": "at_side",
    "scenes.sizes": "with_enough_tokens",
    "scenes.answers": "is_right miscount",
    "scenes.ground_truth": "labels_for object_third text_labels token_labels",
    "training.evaluate": "depth_curve",
    "subjects": "SUBJECTS side_by_side",
    "theorem.operator_norms": "ESTIMATORS operator_norms",
    "theorem.variation_impact": "variation_impact",
    "theorem.statistics.impact_table": "PREDICTORS",
    "theorem.statistics.summary": "per_sample summarise_impact",
    "theorem.statistics.proportionality": "proportionality",
    "theorem.statistics.sinks": "sink_tokens with_and_without_sinks",
    "theorem.statistics.assumptions": "theorem_by_group",
    "theorem.sweep": "add_recorded_impact load_recorded",
    "theorem.alone_impact": "alone_impact information_horizon",
    "group_impact.effects": "inclusion_impact shapley_impact",
    "group_impact.summary": "group_summary",
    "group_impact.sweep": "load_group_impact",
    "criteria.scores": "ATTENTIONS CRITERIA VARIATIONS score_tokens scored",
    "criteria.agreement": "agreement agreement_matrix criterion_groups",
    "criteria.localisation": "CONTRASTS localisation",
    "criteria.question_dependence": "question_dependence",
    "criteria.dropping_by_table": "ScoresFromTable method_from_column",
    "criteria.jacobian_scores": "scored_with_jacobians",
    "criteria.massive_activations": "massive_activations sink_ranks",
    "position.retention": "end_to_start_ratio kept_tokens_by retention score_position with_grid_place",
    "position.uniformity": "distance_difference distance_from_uniform",
    "position.content_or_position": "content_position_shares content_position_table rankings_under_shifts",
    "position.detection": "detection_power planted_kept",
    "position.bias_cost": "bias_accuracy_correlation with_planted_bias",
    "comparison.accuracy": "NOTHING_DROPPED accuracy accuracy_over_budgets summarise_accuracy",
    "comparison.at_one_average": "accuracy_at_averages accuracy_by_difficulty fitting_methods methods_at_average"
    " with_difficulty",
    "comparison.budgets": "reachable_budgets",
    "answers.sweep": "load_answers ask_again study_answers",
    "comparison.layer_choices": "accuracy_over_layers best_and_worst drop_layer_choices",
    "comparison.pairs": "paired_difference pairwise_differences",
    "comparison.wins": "significant_pairs win_counts",
    "comparison.equivalence": "equivalence",
    "comparison.variance_shares": "accuracy_variance",
    "comparison.kept_tokens": "kept_at_end kept_at_layer kept_on_objects kept_overlap",
    "efficiency.footprint": "footprint qwen_72b",
    "efficiency.latency": "relative_time",
    "studies.cells.study": "Study grid",
    "studies.asking": "ask",
    "studies.running": "run",
    "studies.reading": "read_recorded",
    "studies.finding": "study_of",
    "studies.tabulate": "study_table",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Import the module of a public name at the first use of the name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_HOMES[name]), name)  # later uses do not come here
    return value


def __dir__() -> list[str]:
    """The public names too, for completion."""
    return sorted({*globals(), *_HOMES})
