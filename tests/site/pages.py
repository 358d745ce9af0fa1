"""A page as tests read it: its elements, with what is in them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Element:
    """An element of a page."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Element | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.parts: list[Element | str] = []

    @property
    def text(self) -> str:
        """All text in it, with single spaces."""
        return " ".join("".join(part if isinstance(part, str) else part.text for part in self.parts).split())

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """Elements in it of a tag that have these attributes; an empty value: any."""
        found = []
        for part in self.parts:
            if isinstance(part, Element):
                has = all(part.attributes.get(name.replace("_", "-"), "") == v for name, v in attributes.items() if v)
                has = has and all(name.replace("_", "-") in part.attributes for name in attributes)
                found += [part] * (tag in ("", part.tag) and has)
                found += part.all(tag, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.here = self.root = Element("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.parts.append(one)
        if tag not in VOID:
            self.here = one

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.parts.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag, f"{tag} ends within {self.here.tag}"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.parts.append(data)


def read(text: str | Path) -> Element:
    """A page; every element that it opens it must close."""
    reader = _Reader()
    reader.feed(text.read_text(encoding="utf-8") if isinstance(text, Path) else text)
    reader.close()
    assert reader.here is reader.root, f"{reader.here.tag} never ends"
    return reader.root
