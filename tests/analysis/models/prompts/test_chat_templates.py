"""A chat template that fails, does what is forbidden, comes to no end or loses the question: one line says so."""

import threading
import time

import pytest

from analysis.models.prompts import chat_templates

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% set k = j %}{% endfor %}{% endfor %}"
SELF = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"
LOST = "{% for p in messages[0]['content'] %}{% if p['type'] == 'image' %}<image>{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}", "TemplateSyntaxError: "),
        ("{{ messages[0].content[9].text.upper() }}", "UndefinedError: "),
        ("{{ messages.append(1) }}", "SecurityError: "),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "SecurityError: "),
        ("{% for i in range(10**9) %}{% endfor %}", "OverflowError: Range too big"),
        (SELF, "RecursionError"),
        ("{{ raise_exception('only\none image') }}", "TemplateError: only"),
        ("{{ messages[0]['content'] + 'text' }}", "TypeError: "),
        ({"rag": "{{ messages }}"}, "ValueError: "),
    ],
)
def test_a_template_that_fails_is_named_as_the_fault(embedded, asked, monkeypatch, template, reason):
    monkeypatch.setattr(embedded.processor, "chat_template", template)
    said = rf"the chat template of this checkpoint fails \({reason}.*the checkpoint's fault; give it another"
    for call in (lambda: embedded.inputs(*asked), lambda: embedded.answer_ids("what digit is red", "7")):
        with pytest.raises(ValueError, match=said) as raised:
            call()
        assert "\n" not in str(raised.value) and raised.value.__cause__ is None


def test_an_endless_template_is_ended(embedded, asked, monkeypatch):
    monkeypatch.setattr(embedded.processor, "chat_template", ENDLESS)
    monkeypatch.setattr(chat_templates, "SECONDS", 0.3)
    before, start = threading.active_count(), time.monotonic()
    with pytest.raises(ValueError, match=r"fails \(it comes to no end in 0.3 seconds\)"):
        embedded.inputs(*asked)
    assert time.monotonic() - start < 5
    while threading.active_count() > before:  # the loop is ended, not left running
        assert time.monotonic() - start < 30
        time.sleep(0.05)


def test_a_template_that_leaves_the_question_out_is_refused(embedded, asked, monkeypatch):
    monkeypatch.setattr(embedded.processor, "chat_template", LOST)
    with pytest.raises(ValueError, match="leaves the question out .* Of 'what .*' it makes '<image>'"):
        embedded.inputs(*asked)


def test_a_template_may_trim_the_question(embedded, asked, monkeypatch):
    monkeypatch.setattr(embedded.processor, "chat_template", LOST + " {{ messages[0]['content'][-1]['text'] | trim }}")
    images, (question,) = asked
    spaced, plain = (embedded.inputs(images, [text])["input_ids"] for text in (f" {question}\n", question))
    assert spaced.tolist() == plain.tolist()
