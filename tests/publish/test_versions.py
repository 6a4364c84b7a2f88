"""Versions and how far they must move: pure, by cases and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core.errors import ConfigError, HubError
from chatdata.publish.versions import Change, Rendered, Version, check, of_tags, parse

versions = st.builds(Version, *[st.integers(0, 99)] * 3)
changes = st.builds(
    Change,
    st.integers(0, 2),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([(), ("tokens",)]),
    st.sampled_from(
        [(), (Rendered("minor", "a"),), (Rendered("minor", "a"), Rendered("major", "b"))]
    ),
)


@given(versions)
def test_a_version_reads_as_it_is_written(version: Version) -> None:
    assert parse(str(version)) == version
    assert of_tags([version.tag]) == [version]


@pytest.mark.parametrize(
    "text", ["1.0", "1.0.0.0", "v1.0.0", "1.0.x", "01.0.0", "1.0.0-rc1", "", "١.٠.٠", "1." * 9]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not three numbers"):
        parse(text)


def test_the_latest_of_tags_is_the_highest_number() -> None:
    tags = ["v1.9.0", "v1.10.0", "beta", "1.11.0", "v1.2", "v0.1.0"]
    assert [str(version) for version in of_tags(tags)] == ["1.10.0", "1.9.0", "0.1.0"]


@given(versions, changes)
def test_the_next_version_by_the_step_is_allowed_and_nothing_before_it(
    last: Version, change: Change
) -> None:
    least = last.after(change.step)
    check(last, least, change)
    check(last, Version(least.major, least.minor, least.patch + 1), change)
    below = Version(least.major, least.minor, least.patch - 1)
    if below > last:
        with pytest.raises(HubError):
            check(last, below, change)
    with pytest.raises(HubError, match="does not come after"):
        check(last, last, change)


@given(versions, versions, changes, changes)
def test_a_larger_change_never_allows_more(
    last: Version, new: Version, first: Change, second: Change
) -> None:
    order = ["patch", "minor", "major"]
    small, large = sorted((first, second), key=lambda change: order.index(change.step))
    try:
        check(last, new, large)
    except HubError:
        return
    check(last, new, small)


@pytest.mark.parametrize(
    ("change", "new", "words"),
    [
        (
            Change(removed=3),
            "1.5.0",
            "3 rows were removed since 1.4.2, which needs a new major version",
        ),
        (
            Change(added=2),
            "1.4.3",
            "2 rows were added since 1.4.2, which needs a new minor version",
        ),
        (Change(changed=True), "1.5.0", "publish as 2.0.0, or pass --allow-version"),
        (Change(removed=1), "1.5.0", "1 row was removed since 1.4.2"),
        (Change(schema=("tokens",)), "1.4.3", "the columns of tokens changed"),
        (
            Change(renderings=(Rendered("minor", "the rendering qwen3 was added"),)),
            "1.4.3",
            "the rendering qwen3 was added since 1.4.2, which needs a new minor version",
        ),
        (
            Change(added=2, renderings=(Rendered("major", "the rendering qwen3 was removed"),)),
            "1.5.0",
            "the rendering qwen3 was removed since 1.4.2, which needs a new major version",
        ),
        (Change(added=2), "1.4.1", "does not come after 1.4.2, the last published version"),
    ],
)
def test_a_version_that_moves_too_little_is_refused(change: Change, new: str, words: str) -> None:
    with pytest.raises(HubError) as caught:
        check(Version(1, 4, 2), parse(new), change)
    assert words in str(caught.value)
