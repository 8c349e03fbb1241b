"""A suite that shrinks by accident fails."""

from __future__ import annotations

TESTS_AT_LEAST = 6000


def test_number_of_tests_found(request):
    session = request.session
    options = session.config.option
    if session.config.args == ["tests"] and not (options.keyword or options.markexpr or options.deselect):
        assert len(session.items) >= TESTS_AT_LEAST
