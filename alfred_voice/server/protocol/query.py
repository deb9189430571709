"""What an address asks for behind its question mark. Values in, values out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage
from alfred_voice.server.guard.credentials import QUERY_FIELD


_MISSPELT = 0.75
"""How alike a field's name and a known one are, of 1, when the known one was meant."""


def fields_of(query: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """Those of ``known`` that are there and not empty; other fields, but for slips, are none of our business.

    Raises:
        MalformedMessage: a field is all but one of them.
    """
    names = (*known, QUERY_FIELD)
    for name in query:
        near = difflib.get_close_matches(name[:64], names, n=1, cutoff=_MISSPELT)
        if name not in names and near:
            raise MalformedMessage(f"query: unknown field {shorten(name)!r}; did you mean {near[0]}?")
    return {name: query[name] for name in known if query.get(name)}
