"""Schedules of the V2Drop paper and of its released codes, under the budget the sources label them with.

No two sources agree (arXiv 2509.01552; github.com/xuyang-liu16/V2Drop at 219e03e), and no label is the true layer
average, so each preset says whose it is and what it really comes to. Budgets that no source spells out are not here.
"""

from v2drop.schedule import Schedule


def _labelled(schedule: Schedule, source: str, n_tokens: int, n_layers: int) -> Schedule:
    average = schedule.average(n_tokens, n_layers)
    text = f"{source}: true layer average {average:.1f} of {n_tokens} tokens over {n_layers} layers"
    return Schedule(schedule.left, label=text)


PRESETS: dict[tuple[str, int], Schedule] = {
    ("llava-1.5-7b", 192): _labelled(Schedule({3: 288, 17: 144, 22: 1}), "V2Drop, released LLaVA code", 576, 32),
    ("llava-1.5-7b-paper", 192): _labelled(
        Schedule({3: 0.5, 17: 0.3, 22: 0.0}), "V2Drop, paper ('drops 50 % / 70 % / 100 %')", 576, 32
    ),
    # Its Qwen2-VL code keeps a quarter, a twentieth of that, then one token, of however many the picture has.
    ("qwen2-vl-7b", 256): _labelled(Schedule({3: 0.25, 16: 0.0125, 22: 1}), "V2Drop, released Qwen2-VL code", 1024, 28),
}
