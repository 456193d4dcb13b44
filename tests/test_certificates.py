"""Certificates: intervals that hold the exact result, proofs over boxes, Krawczyk, files that are checked again."""

from __future__ import annotations

import copy
import json
import math
import random
from fractions import Fraction
from importlib.util import find_spec

import mpmath
import pytest
from mpmath.ctx_iv import MPIntervalContext
from sympy import E, Integer, Rational, Symbol, exp, log, sqrt, symbols

import headflow as hf
from headflow.cli import dispatch as cli
from headflow.errors import InputError
from headflow.numerics.certificates import (
    Equations,
    Interval,
    Tape,
    UnboundedError,
    arithmetic,
    bounded_above,
    endpoints,
    positive,
    supremum,
    unique_solution,
)
from headflow.numerics.certificates.elementary import exp_ends, log_ends
from headflow.numerics.checks.finding import Finding, enclosed
from headflow.numerics.runtime.seal import BLANK
from headflow.numerics.verification import certificate_file
from headflow.numerics.verification.certificate_changes import changes
from headflow.numerics.verification.verdict import Verdict, judged, outcome
from headflow.theory.statements import statement

x, y = symbols("x y", real=True)
F = Fraction
KITS = ["mpmath", pytest.param("arb", marks=pytest.mark.skipif(not find_spec("flint"), reason="needs python-flint"))]
PROBLEM = hf.Problem(dims=[4, 5], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=2)
ELSEWHERE = {"lower": (1e9).hex(), "upper": (2e9).hex()}
CLAIMS = ["factor-e", "universal-bound", "idle-head", "gradient", "balanced-flow"]


@pytest.fixture(params=KITS)
def kit(request):
    kit = arithmetic(request.param)
    with kit.working():
        yield kit


def exactly(value: Fraction) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator


class TestIntervals:
    def test_every_operation_holds_the_exact_result(self, kit):
        """Random points of random intervals, against rationals and 60-digit functions."""
        draw = random.Random(0)

        def ends():
            return sorted(F(draw.randint(-400, 400), draw.randint(1, 90)) for _ in range(2))

        with mpmath.workdps(60):
            for _ in range(200):
                a, b = ends(), ends()
                p, q = (low + (high - low) * F(draw.randint(0, 16), 16) for low, high in (a, b))
                first, second = Interval.of(kit, *a), Interval.of(kit, *b)
                results = [(first + second, p + q), (first - second, p - q), (first * second, p * q), (-first, -p)]
                results += [(first.power(F(n)), p**n) for n in (2, 3)]
                if b[0] > 0 or b[1] < 0:
                    results.append((first / second, p / q))
                for found, value in results:
                    low, high = found.ends
                    assert low <= value <= high
                # Functions: irrational, so compared with 60 digits.
                for found, value in ((first.exp(), mpmath.exp(exactly(p))),):
                    low, high = map(exactly, found.ends)
                    assert low <= value <= high
                if a[0] > 0:
                    for found, value in (
                        (first.log(), mpmath.log(exactly(p))),
                        (first.sqrt(), mpmath.sqrt(exactly(p))),
                        (first.power(F(-1, 3)), exactly(p) ** (-mpmath.mpf(1) / 3)),
                    ):
                        low, high = map(exactly, found.ends)
                        assert low <= value <= high

    def test_endpoints_are_tight(self, kit):
        found = Interval.of(kit, F(1, 3), F(1, 3))
        assert found.ends[0] < F(1, 3) < found.ends[1]
        assert found.ends[1] - found.ends[0] < F(1, 2**90)
        low, high = Interval.of(kit, F(1), F(3)).power(F(2)).ends
        assert (low, high) == (1, 9)
        assert Interval.of(kit, F(-1), F(3)).power(F(2)).ends == (0, 9)

    def test_what_has_no_bound(self, kit):
        around_zero = Interval.of(kit, F(-1), F(1))
        for operation in (around_zero.inverse, around_zero.log, around_zero.sqrt):
            with pytest.raises(UnboundedError):
                operation()

    def test_an_expression(self, kit):
        tape = Tape(sqrt(x) * exp(-x) + log(x) / E - Rational(1, 3))
        low, high = tape({x: Interval.of(kit, F(2), F(2))}, kit).ends
        value = math.sqrt(2) * math.exp(-2) + math.log(2) / math.e - 1 / 3
        assert float(low) == pytest.approx(value, rel=1e-15)
        assert 0 < high - low < F(1, 2**80)
        with pytest.raises(TypeError, match="no enclosure of"):
            Tape(abs(x))

    def test_names(self, monkeypatch):
        with pytest.raises(InputError, match="must be 'arb' or 'mpmath'"):
            arithmetic("decimal")
        monkeypatch.setattr(endpoints, "find_spec", lambda name: None)
        assert arithmetic().name == "mpmath"


class TestElementaryFunctions:
    """Enclosures of e^x and log x in whole numbers, against many more digits."""

    def test_the_ends_hold_the_value_and_are_close(self):
        draw = random.Random(0)
        sizes = [F(10) ** power for power in (-40, -9, -1, 0, 1, 3, 5)]
        values = [F(draw.randint(-(10**9), 10**9), 10**9) * size for size in sizes for _ in range(20)]
        values += [F(0), F(1), 1 + F(1, 2**90), 1 - F(1, 2**90), F(2) ** -3000, F(10) ** 300, F(3, 2), F(4, 3)]
        for bits in (24, 96, 250):
            with mpmath.workprec(4 * bits + 4000):
                for value in values:
                    kinds = [(exp_ends, mpmath.exp, True)] if abs(value) < 1e6 else []
                    kinds += [(log_ends, mpmath.log, False)] if value > 0 else []
                    for ends_of, function, relative in kinds:
                        (low, high), power = ends_of(value, bits)
                        right = function(exactly(value)) * mpmath.mpf(2) ** -power
                        assert low <= right <= high
                        assert (
                            high - low <= (right if relative else mpmath.mpf(2) ** -power) * mpmath.mpf(2) ** -bits * 4
                        )

    def test_no_end_rests_on_the_last_bit_of_another_library(self, monkeypatch):
        """mpmath's own functions of intervals, which have no proof of it, are not called."""
        context = type("Context", (MPIntervalContext,), {"exp": None, "log": None, "ln": None})
        monkeypatch.setattr("mpmath.ctx_iv.MPIntervalContext", context)
        kit = endpoints._mpmath(80)
        low, high = Interval.of(kit, F(2), F(2)).power(F(1, 3)).ends
        assert low**3 < 2 < high**3


class TestBoxes:
    def test_the_supremum_is_enclosed(self, kit):
        found = supremum(x * (1 - x) + y, {x: (F(-1), F(3)), y: (F(0), F(1, 4))}, kit=kit)
        assert found.lower <= F(1, 2) <= found.upper
        assert found.upper - found.lower < F(1, 1000)

    @pytest.mark.parametrize(
        ("bound", "holds"), [(Rational(51, 200), True), (Rational(49, 200), False), (Rational(1, 4), None)]
    )
    def test_below_a_bound(self, bound, holds):
        claim = bounded_above(x * (1 - x), bound, {x: (F(-1, 7), F(3))}, budget=60)
        assert claim.holds is holds
        assert claim.lower <= F(1, 4) <= claim.upper

    def test_a_bound_that_is_touched(self):
        box = {x: (F(0), F(1)), y: (F(0), F(1))}
        assert positive((x - y) ** 2, box, or_zero=True).holds
        assert positive((x - y) ** 2, box, budget=50).holds is not True

    def test_monotone_expressions_need_one_cell(self):
        found = bounded_above(E * x / (1 + E * x), Integer(1), {x: (F(1, 10**9), F(10**9))})
        assert (found.holds, found.cells) == (True, 1)

    def test_an_honest_undecided(self):
        found = supremum(1 / (x - 1), {x: (F(-1), F(3))}, budget=30)
        assert found.upper is None
        assert found.cells <= 70
        finding = enclosed([bounded_above(1 / (x - 1), Integer(10**9), {x: (F(-1), F(3))}, budget=20)], "x")
        assert outcome(finding) == "inconclusive"

    def test_refuted_beats_undecided(self):
        box = {x: (F(-1), F(3))}
        claims = [bounded_above(1 / (x - 1), Integer(10**9), box, budget=9), bounded_above(x, Integer(0), box)]
        assert outcome(enclosed(claims, "x")) == "fails"
        with pytest.raises(ValueError, match="no claim"):
            enclosed([], "x")

    def test_a_missing_range(self):
        with pytest.raises(ValueError, match="no range for y"):
            supremum(x + y, {x: (F(0), F(1))})


class TestKrawczyk:
    equations = Equations([x**2 + y**2 - Symbol("r"), x - y], [x, y])

    def test_the_only_solution_for_every_parameter(self, kit):
        box = [(F(8, 10), F(13, 10))] * 2
        found = unique_solution(self.equations, {Symbol("r"): (F(19, 10), F(21, 10))}, box, kit)
        for low, high in found:
            assert F(8, 10) < low < F(975, 1000)
            assert F(1024, 1000) < high < F(13, 10)

    @pytest.mark.parametrize("box", [(F(-2), F(2)), (F(2), F(3)), (F(-1), F(1))])
    def test_several_solutions_none_or_a_singular_middle(self, box, kit):
        assert unique_solution(self.equations, {Symbol("r"): (F(2), F(2))}, [box] * 2, kit) is None

    def test_as_many_equations_as_unknowns(self):
        with pytest.raises(ValueError, match="1 equations for 2"):
            Equations([x], [x, y])


class TestVerdicts:
    def test_a_failure_decides_then_the_strongest_that_holds(self):
        entry = statement("factor-e")
        weak, strong = Finding("float", 0.0, 1.0, 0.1, "weak"), Finding("enclosure", 0.0, 0.5, 0.0, "strong")
        undecided, wrong = Finding("enclosure", 0.0, 0.5, 1.0, "open"), Finding("float", 2.0, 1.0, 0.1, "wrong")
        assert judged(entry, weak, strong).evidence == "enclosure"
        assert [finding.what for finding in judged(entry, weak, strong).findings] == ["strong", "weak"]
        assert (judged(entry, weak, undecided).verdict, judged(entry, weak, undecided).evidence) == ("holds", "float")
        assert (judged(entry, strong, wrong).verdict, judged(entry, strong, wrong).what) == ("fails", "wrong")

    def test_a_row_is_read_back(self):
        (verdict,) = hf.verify(PROBLEM, ["idle-head"], quick=True).verdicts
        row = json.loads(json.dumps(verdict.to_row(), allow_nan=False))
        again = Verdict.from_row(row)
        assert again.to_row() == row
        claim, rounded = verdict.findings[0].certified[-1], again.findings[0].certified[-1]
        assert rounded.lower <= claim.lower <= claim.upper <= rounded.upper
        assert float(rounded.upper) == pytest.approx(float(claim.upper), rel=1e-15)

    def test_tables(self):
        found = hf.verify(PROBLEM, ["universal-bound", "idle-head"], quick=True)
        head, *rows = [line for line in found.latex().splitlines() if line.endswith("\\\\")]
        assert [row.count("&") for row in (head, *rows)] == [6, 6, 6]
        assert [found.latex().count(word) for word in ("\\toprule", "\\bottomrule", "tabular}")] == [1, 1, 2]
        assert "high precision" in found.latex()
        assert (
            "| `idle-head` | not_applicable | enclosure, high_precision | 0 | 0.5 | 0.0e+00 | needs H > I; here"
            in found.markdown()
        )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("certificate") / "certificate.json"
    found = hf.verify(PROBLEM, CLAIMS, quick=True, seed=3, certificate=path)
    return path, found, json.loads(path.read_text())


# Entries of a certificate that are compared with what is installed, or asked for again.
ASKED = ("seal", "environment", "version", "claims", "problem", "seed", "quick", "digits", "schema", "kind")


def leaves(value, path=()):
    """The paths to all numbers, words and nulls of a JSON value, and to empty lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict | list) or value == []:
        yield path
    for key, entry in entries:
        yield from leaves(entry, (*path, key))


def another(value):
    """Another value of the same kind where there is one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + abs(value) + 1
    return (
        [*value, "more"] if isinstance(value, list) else value + "0" if value.startswith(("0x", "-0x")) else value + "x"
    )


def resealed(content, path):
    """Written as if headflow had: what is forged with its digest."""
    certificate_file.write(path, {**content, "seal": BLANK})
    return path


class TestFile:
    def test_it_is_complete(self, written):
        path, found, content = written
        assert content["complete"]
        assert content["claims"] == CLAIMS
        assert (content["seed"], content["quick"], content["problem"]) == (3, True, PROBLEM.to_dict())
        assert content["environment"]["arithmetic"] == arithmetic().name
        assert content["verdicts"] == [verdict.to_row() for verdict in found.verdicts]
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_ends_are_exact(self, written):
        claims = [c for row in written[2]["verdicts"] for f in row["findings"] for c in f["certified"]]
        assert claims
        for claim in claims:
            assert all(F(low) <= F(high) for low, high in claim["box"].values())
            assert float.fromhex(claim["lower"]) <= float.fromhex(claim["upper"])

    def test_nothing_changed(self, written):
        again = hf.recheck(written[0])
        assert (again.changes, again.exit_code) == ((), 0)
        assert again.text() == "5 statements checked again; no changes\n"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda c: c["verdicts"][0].update(verdict="fails"), "factor-e: verdict was fails, is holds"),
            (lambda c: c["verdicts"][0].update(evidence="float"), "factor-e: evidence was float, is symbolic"),
            (lambda c: c["verdicts"][4]["findings"][0].update(measured=1e-3), "balanced-flow: measured"),
            (
                lambda c: c["verdicts"][2]["findings"][0]["certified"][-1].update(ELSEWHERE),
                "idle-head: the enclosure of",
            ),
            (lambda c: c["verdicts"].pop(), "balanced-flow: the verdict was missing"),
            (
                lambda c: c["verdicts"][4]["findings"][1].update(measured=-1234.0, error=1e9),
                "balanced-flow: measured (float) was -1234.0",
            ),
            (lambda c: c["verdicts"].append(c["verdicts"][0]), "certificate: a verdict that was not asked for"),
            (lambda c: c["claims"].pop(), "certificate: a verdict that was not asked for was balanced-flow"),
            (lambda c: c["verdicts"][1].update(title="Proved by us"), "universal-bound: title was Proved by us"),
            (lambda c: c["verdicts"].reverse(), "certificate: the order of the verdicts"),
            (lambda c: c["verdicts"][0].pop("unmet"), "factor-e: unmet was missing"),
            (lambda c: c["verdicts"][0].update(note="checked twice"), "factor-e: note was checked twice, is missing"),
            (lambda c: c.update(complete=False), "certificate: complete was False, is True"),
            (lambda c: c.update(seed=4), "balanced-flow: seed (float) was 3, is 4"),
            (lambda c: c["problem"].update(context_length=51), "factor-e: measured"),
            (lambda c: c["verdicts"][0]["findings"].pop(), "factor-e: number of findings was 2, is 3"),
        ],
    )
    def test_a_forged_number_is_found(self, written, tmp_path, change, told):
        content = json.loads(written[0].read_text())
        change(content)
        again = hf.recheck(resealed(content, tmp_path / "forged.json"))
        assert any(str(entry).startswith(told) for entry in again.changes)
        assert again.exit_code == 1

    def test_another_environment_is_told_and_changes_no_verdict(self, written, tmp_path):
        content = json.loads(written[0].read_text())
        content["environment"]["numpy"] = "1.0"
        path = resealed(content, tmp_path / "older.json")
        again = hf.recheck(path)
        assert [entry.what for entry in again.changes] == ["numpy"]
        assert again.exit_code == 0

    def test_it_is_continued(self, written, tmp_path, monkeypatch):
        content = json.loads(written[0].read_text())
        whole = dict(content)
        content.update(complete=False, verdicts=content["verdicts"][:3])
        path = resealed(content, tmp_path / "begun.json")
        from headflow.numerics.verification import verify as module

        asked = []
        right = module.verdict_on
        monkeypatch.setattr(module, "verdict_on", lambda id, setting: asked.append(id) or right(id, setting))
        hf.verify(PROBLEM, CLAIMS, quick=True, seed=3, certificate=path, resume=True)
        assert asked == CLAIMS[3:]
        assert json.loads(path.read_text()) == whole
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match="is damaged or was changed"):
            hf.verify(PROBLEM, CLAIMS, quick=True, seed=3, certificate=path, resume=True)
        resealed(whole, path)
        with pytest.raises(InputError, match="was begun with another seed"):
            hf.verify(PROBLEM, CLAIMS, quick=True, seed=4, certificate=path, resume=True)

    def test_every_entry_that_is_changed_is_noticed(self, written):
        """Each leaf in turn: its digest tells, and what is found again does too, even under a new digest."""
        content = written[2]
        count = 0
        for path in leaves(content):
            if path[0] in (
                "seal",
                "environment",
                "version",
                "claims",
                "problem",
                "seed",
                "quick",
                "digits",
                "schema",
                "kind",
            ):
                continue  # compared elsewhere: with what is installed, or asked for again
            forged = copy.deepcopy(content)
            at = forged
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = another(at[path[-1]])
            assert list(changes(forged, content)), path
            count += 1
        assert count > 300

    def test_every_byte_is_sealed(self, written, tmp_path):
        text = written[0].read_bytes()
        draw = random.Random(0)
        path = tmp_path / "flipped.json"
        for _ in range(200):
            place = draw.randrange(len(text))
            path.write_bytes(text[:place] + bytes([text[place] ^ 1 << draw.randrange(8)]) + text[place + 1 :])
            assert not certificate_file.intact(path)
        assert certificate_file.intact(written[0])

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"seed": "x"}, "its seed cannot be 'x'"),
            ({"seed": True}, "its seed cannot be True"),
            ({"quick": 1}, "its quick cannot be 1"),
            ({"claims": [1]}, "its claims are not ids"),
            ({"verdicts": ["holds"]}, "one of its verdicts is none"),
            ({"schema": 2}, "certificate of schema 1"),
            ({"kind": "other"}, "is not a verification certificate"),
            ({"problem": []}, "its problem cannot be"),
            ({"problem": {"dims": [4]}}, "holds a problem that cannot be read"),
            ({"digits": 5}, "digits must lie between"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_a_question_that_cannot_be_asked_again(self, written, tmp_path, changed, told):
        path = resealed({**written[2], **changed}, tmp_path / "c.json")
        with pytest.raises(InputError, match=told):
            hf.recheck(path)

    def test_numbers_that_differ_within_the_error_found_now_are_the_same(self, written):
        again = copy.deepcopy(written[2])
        (finding,) = (f for f in again["verdicts"][4]["findings"] if f["evidence"] == "float")
        finding["measured"] += finding["error"] / 2
        assert not list(changes(again, written[2]))
        finding["measured"] += finding["error"]
        assert [str(change)[:31] for change in changes(again, written[2])] == ["balanced-flow: measured (float)"]

    def test_ends_of_another_arithmetic_may_be_others_but_not_apart_or_wide(self, written):
        content = written[2]
        again = copy.deepcopy(content)
        again["environment"]["arithmetic"] = "other"
        claim = again["verdicts"][0]["findings"][1]["certified"][0]
        low, high = (float.fromhex(claim[name]) for name in ("lower", "upper"))
        claim.update(cells=7, arithmetic="other", upper=(high + (high - low)).hex())
        assert not list(changes(again, content))
        for ends in ((low, high + 100 * (high - low) + 1), (high + 1, high + 2)):
            claim.update(lower=ends[0].hex(), upper=ends[1].hex())
            assert "the enclosure of" in str(next(iter(changes(again, content))))
        for broken in (None, "wide", 3):
            claim.update(lower=low.hex(), upper=broken)
            assert list(changes(again, content))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("nothing", "is not JSON"),
            ("[]", "is not a verification certificate"),
            ('{"kind": "headflow verification certificate"}', "lacks"),
        ],
    )
    def test_what_is_no_certificate(self, tmp_path, text, told):
        path = tmp_path / "file.json"
        path.write_text(text)
        with pytest.raises(InputError, match=told):
            hf.recheck(path)
        with pytest.raises(InputError, match="cannot read"):
            hf.recheck(tmp_path / "missing.json")

    @pytest.mark.slow
    def test_processes_change_nothing(self, written):
        found = hf.verify(PROBLEM, CLAIMS, quick=True, seed=3, workers=2)
        assert found == written[1]
        with pytest.raises(InputError, match="workers must be at least 1"):
            hf.verify(PROBLEM, workers=0)


class TestCommand:
    numbers = ("--dims", "4,5", "--signal", "1,2", "--noise", "0.1", "--context", "50", "--heads", "2")

    def test_certificate_and_recheck(self, tmp_path, capsys):
        path = tmp_path / "c.json"
        words = ["verify", "factor-e", "--quick", "--workers", "1", *self.numbers, "--certificate", str(path)]
        assert cli.main(words) == 0
        assert cli.main(words) == 2
        assert "exists; --force overwrites it" in capsys.readouterr().err
        assert cli.main([*words, "--resume"]) == 0
        assert cli.main(["verify", "--recheck", str(path), "--workers", "1"]) == 0
        assert "1 statements checked again; no changes" in capsys.readouterr().out
        assert cli.main(["verify", "--recheck", str(path), "--json", "--workers", "1"]) == 0
        assert json.loads(capsys.readouterr().out)["changes"] == []

    @pytest.mark.parametrize(
        ("form", "mark"), [("latex", "\\toprule"), ("markdown", "| --- |"), ("json", '"schema": 1')]
    )
    def test_formats(self, form, mark, capsys):
        assert cli.main(["verify", "factor-e", "--quick", "--workers", "1", *self.numbers, "--format", form]) == 0
        assert mark in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--resume"], "--resume needs --certificate FILE"),
            (["--recheck", "x.json", "--quick"], "--recheck takes problem, claims, seed, --quick and --explore"),
            (["--format", "html"], "unknown format 'html'"),
        ],
    )
    def test_refusals(self, words, told, capsys):
        assert cli.main(["verify", *words]) == 2
        assert told in capsys.readouterr().err


def test_the_same_verdicts_without_flint(monkeypatch):
    """The fallback proves the same claims, and says so."""
    monkeypatch.setattr(endpoints, "find_spec", lambda name: None)
    for id in ("task-allocation-limit", "factor-e", "idle-head"):
        verdict = hf.verify(PROBLEM, [id], quick=True).verdicts[0]
        assert (verdict.instead or verdict.verdict) == "holds"
        claims = [claim for finding in verdict.findings for claim in finding.certified]
        assert {claim.arithmetic for claim in claims} == {"mpmath"}
