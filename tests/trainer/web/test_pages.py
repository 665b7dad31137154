"""The frame that the trainer's pages share."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("starlette")

from trainer import web


def test_every_page_extends_the_base_and_takes_nothing_from_elsewhere() -> None:
    for path in web.HERE.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "base.html" or '{% extends "base.html" %}' in text, path.name
        # What the Content-Security-Policy would keep from working.
        assert not re.search(r"https?://|\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", text), path.name


def test_what_is_put_into_a_page_is_text() -> None:
    from jinja2 import DictLoader, UndefinedError

    environment = web._environment().overlay(loader=DictLoader({"page.html": "<p>{{ name }}</p>"}))
    assert environment.get_template("page.html").render(name="<b>") == "<p>&lt;b&gt;</p>"
    with pytest.raises(UndefinedError):
        environment.get_template("page.html").render()


def test_a_file_of_a_page() -> None:
    found = web.file("style.css")
    assert found.headers["content-type"].startswith("text/css")
    assert "script-src 'self'" in found.headers["content-security-policy"]
    assert b"prefers-color-scheme: dark" in found.body
