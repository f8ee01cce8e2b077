"""What all pages share: the frame, the style, the one script, and how they get onto the disk.

Every name on a page comes from a user's file or a stranger's. Two walls keep names from becoming code: the templates escape
whatever they are given, and the page's own Content-Security-Policy lets a browser run the one script whose hash it tells, nothing
else, and fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

from figures.style import DARK, FONT, LIGHT, MONOSPACE, css_tones, css_variables
from traces.aside import aside
from traces.errors import InputError

HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """The page of a template of this folder as text. The same values give the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script = (HERE / "page.js").read_text(encoding="utf-8")
    style = {"light": css_variables(LIGHT), "dark": css_variables(DARK), "tones": css_tones(), "font": FONT, "mono": MONOSPACE}
    return environment.get_template(template).render(style=style, script=Markup(script), security=security(script), **values)


def security(script: str) -> str:
    """The Content-Security-Policy under which only ``script`` runs, and nothing is fetched from anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {"default": "'none'", "script": f"'sha256-{digest}'", "style": "'unsafe-inline'", "img": "data:"}
    return "; ".join([*(f"{kind}-src {source}" for kind, source in rules.items()), "form-action 'none'", "base-uri 'none'"])


def write_page(html: str, path: str | Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        InputError: ``path`` cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside(target) as temporary:
            temporary.write_text(html, encoding="utf-8")
            os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}; choose another place for the report") from error
