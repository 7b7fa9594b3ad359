"""What answers to a bind mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.core import results

from broker.directory.verdict import Ppolicy, Verdict, read_ppolicy, verdict

AD = "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data {}, v3839"
WRONG = results.RESULT_INVALID_CREDENTIALS
NOTHING = Ppolicy()


@pytest.mark.parametrize(
    ("code", "judged", "proven"),
    [
        ("525", "wrong", False),
        ("52e", "wrong", False),
        ("530", "hours", True),
        ("531", "hours", True),
        ("532", "expired", True),
        ("533", "disabled", True),
        ("701", "account_expired", True),
        ("773", "must_change", True),
        ("775", "locked", False),
        ("999", "wrong", False),
    ],
)
def test_active_directory_s_sub_codes(code: str, judged: str, proven: bool) -> None:
    found = verdict(WRONG, AD.format(code), NOTHING, insist=True)
    assert found == Verdict(judged, bound=False, proven=proven)  # type: ignore[arg-type]


def test_a_sub_code_beside_another_result_means_nothing() -> None:
    found = verdict(results.RESULT_NO_SUCH_OBJECT, AD.format("533"), NOTHING, insist=True)
    assert found.judged == "wrong"
    assert verdict(0, AD.format("533"), NOTHING, insist=True).judged == "right"


@pytest.mark.parametrize(
    ("code", "ppolicy", "insist", "judged", "bound"),
    [
        (0, NOTHING, True, "right", True),
        (0, Ppolicy(error=2), False, "must_change", True),
        (0, Ppolicy(grace=3), True, "expired", True),
        (0, Ppolicy(grace=3), False, "right", True),
        (WRONG, NOTHING, True, "wrong", False),
        (WRONG, Ppolicy(error=0), True, "expired", False),
        (WRONG, Ppolicy(error=1), True, "locked", False),
        (results.RESULT_UNWILLING_TO_PERFORM, NOTHING, True, "refused", False),
        (results.RESULT_UNWILLING_TO_PERFORM, Ppolicy(error=1), True, "locked", False),
        (results.RESULT_INVALID_DN_SYNTAX, NOTHING, True, "wrong", False),
    ],
)
def test_password_policies(
    code: int, ppolicy: Ppolicy, insist: bool, judged: str, bound: bool
) -> None:
    found = verdict(code, "", ppolicy, insist=insist)
    assert (found.judged, found.bound) == (judged, bound)


@pytest.mark.parametrize(
    ("value", "ppolicy"),
    [
        ("3000", NOTHING),
        ("3003810100", Ppolicy(error=0)),
        ("3003810101", Ppolicy(error=1)),
        ("3005a003810103", Ppolicy(grace=3)),
        ("3008a003810102810102", Ppolicy(error=2, grace=2)),
        ("3006a0048002012c", NOTHING),  # timeBeforeExpiration
        ("", NOTHING),
        ("30", NOTHING),
        ("3084ffffffff", NOTHING),
        ("3003810500", NOTHING),
        ("0403810100", NOTHING),
    ],
)
def test_reading_the_control(value: str, ppolicy: Ppolicy) -> None:
    assert read_ppolicy(bytes.fromhex(value)) == ppolicy


@given(st.binary(max_size=40))
def test_any_bytes_can_be_read(value: bytes) -> None:
    read_ppolicy(value)
