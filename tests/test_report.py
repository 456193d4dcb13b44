"""The report: complete, self-contained, well-formed, put in place as a whole, and right about the reference case."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headflow.cli import dispatch as cli
from headflow.errors import IntegrationError
from headflow.numerics import IntegrationInterrupted, Interrupted, Problem, ProblemFile, Trajectory
from headflow.numerics.comparison.compare import compare
from headflow.numerics.integration.integrate import integrate
from headflow.numerics.verification import verify as verification
from headflow.plot.heat_maps import Snapshot, heat_maps
from headflow.plot.loss_figure import Level, Mark, loss_figure
from headflow.plot.plotting import BLUE, GREEN, inline_svg, power_of_ten
from headflow.report.exposition import exposition
from headflow.report.figures import draw
from headflow.report.summary import number
from headflow.theory.derivation import Derivation
from headflow.theory.presentation import catalogue
from headflow.theory.printing import aligned_text, check_latex
from headflow.theory.printing.aligned import fits, rows
from headflow.theory.printing.aligned import page as sheet
from headflow.theory.statements import statements

VERIFIED = ("population-loss", "factor-e", "separation", "multi-head-optimum", "convergence")
FILES = {"index.html", "derivation.tex", "report.json", "loss.svg", "mu.svg", "omega.svg"}
MATH = "{http://www.w3.org/1998/Math/MathML}"
SVG = "{http://www.w3.org/2000/svg}"
# A name space is a name, not a place on the network.
NAMESPACES = {
    "http://www.w3.org/1998/Math/MathML",
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/1999/xlink",
    "http://www.w3.org/2000/svg",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the default problem, made once by the command, with a few of the statements verified."""
    folder = tmp_path_factory.mktemp("report") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "known_ids", lambda: VERIFIED)
        assert cli.main(["report", "--quick", "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def page(report: Path) -> ElementTree.Element:
    return ElementTree.parse(report / "index.html").getroot()


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_all_files_are_there_and_nothing_else(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == FILES
    assert [path.name for path in report.parent.iterdir()] == ["made"]


def test_the_page_needs_nothing_else(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= NAMESPACES
    assert "<script" not in text
    assert "@import" not in text
    assert "<link" not in text
    for target in re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(\"?([^)\"]*)", text):
        assert "".join(target).startswith(("#", "data:")), target


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page: ElementTree.Element) -> None:
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    html = "{http://www.w3.org/1999/xhtml}"
    links = [str(link.get("href")) for link in page.iter(f"{html}a")]
    assert len(links) > 10
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert len(list(page.iter(f"{html}h1"))) == 1


def test_formulas_are_mathml(page: ElementTree.Element) -> None:
    formulas = list(page.iter(f"{MATH}math"))
    assert len(formulas) > 40
    for formula in formulas:
        assert {element.tag.startswith(MATH) for element in formula.iter()} == {True}
        for tag, children in (("mfrac", 2), ("msub", 2), ("msup", 2), ("msubsup", 3), ("munder", 2)):
            assert {len(element) for element in formula.iter(MATH + tag)} <= {children}


def test_the_page_says_what_it_must(page: ElementTree.Element, report: Path) -> None:
    text = words(page)
    for part in ("Answer", "Figures", "Dynamics", "Verdicts", "Derivations", "Statements", "Provenance"):
        assert part in text
    for value in ("0.69055074", "0.4248927", "0.2972973", "1.4185831"):
        assert value in text
    assert "default.toml" in text
    assert "seed 0" in text
    assert "numpy" in text
    for statement in statements():
        assert f'id="statement-{statement.id}"' in (report / "index.html").read_text(encoding="utf-8")


def test_the_report_as_json(report: Path) -> None:
    found = json.loads((report / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (found["schema"], found["closure"], found["parametrisation"]) == (1, "leading", "balanced")
    assert found["problem"]["dims"] == [10, 10, 10]
    assert found["initial"] == {"scale": 0.03, "jitter": 0.2, "seed": 0}
    assert found["compare"]["losses"]["multi_head_optimum"]["attained"] is False
    assert tuple(verdict["id"] for verdict in found["verify"]["verdicts"]) == VERIFIED
    assert {verdict["verdict"] for verdict in found["verify"]["verdicts"]} == {"holds"}
    where = "4 checked on this problem, 1 checked on its first tasks"
    assert found["answer"][-1] == f"All {len(VERIFIED)} theorems hold ({where})."
    assert len(found["integrate"]["mu"]) == 3


def test_the_derivation_is_a_sound_document(report: Path) -> None:
    source = (report / "derivation.tex").read_text(encoding="utf-8")
    assert check_latex(source) == []
    assert source.count(r"\section{") > 5
    assert source.count(r"\begin{theorem}") == len(statements())


def test_no_formula_runs_off_the_page():
    """By our own measure of widths, so that a machine without LaTeX sees it too."""
    told = exposition("all", "balanced", "leading")
    blocks = [step.formula for derivation in told.derivations for step in derivation.steps]
    blocks += [part.claim for part in told.statements]
    assert len(blocks) > 100
    wide = [aligned_text(block) for block in blocks if not fits(rows(block, sheet(), limits=False), sheet())]
    assert not wide


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_derivation_compiles(report: Path, tmp_path: Path) -> None:
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-output-directory", str(tmp_path)]
    done = subprocess.run([*words, str(report / "derivation.tex")], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    assert b"Overfull" not in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_the_page(report: Path, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    words = ["chromium", "--headless", "--no-sandbox", f"--screenshot={shot}", "--window-size=1000,1600"]
    subprocess.run([*words, (report / "index.html").as_uri()], capture_output=True, check=True)
    assert shot.stat().st_size > 50_000


@pytest.mark.parametrize("name", ["loss", "mu", "omega"])
def test_figures_are_svg_that_says_what_it_shows(name: str, report: Path) -> None:
    figure = ElementTree.parse(report / f"{name}.svg").getroot()
    assert figure.tag == f"{SVG}svg"
    assert (figure.get("role"), bool(figure.get("aria-label"))) == ("img", True)
    assert not list(figure.iter(f"{SVG}text")), "text is set as paths, so that no font is needed"


def test_a_report_is_not_overwritten(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    assert cli.main(["report", "-o", str(report)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"headflow: {report} exists and is not empty; --force replaces the report in it\n"
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without its costly part: no statement is verified."""
    monkeypatch.setattr(verification, "known_ids", tuple)


PROBLEM = ["--dims", "4,5", "--signal", "1,1", "--heads", "2", "--context", "50", "--noise", "0.1"]


@pytest.mark.slow
@pytest.mark.usefixtures("stubbed")
def test_force_replaces_the_report_and_keeps_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "index.html").write_text("old")
    words = ["report", *PROBLEM, "--t-final", "50", "-o", str(tmp_path), "--force"]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "index.html").read_text(encoding="utf-8") != "old"


@pytest.mark.slow
@pytest.mark.usefixtures("stubbed")
def test_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", "--t-final", "200"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("Problem: the shipped default.toml (the reference case)\n")
    assert out.endswith("\nReport: headflow-report/index.html\n")
    assert len(out.splitlines()) < 10
    assert {path.name for path in Path("headflow-report").iterdir()} == FILES


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few derivations."""
    made = exposition("limit", "balanced", "leading")
    monkeypatch.setattr("headflow.report.report.exposition", lambda *_, **__: made)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_an_interrupted_report_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(problem: Problem, **_: object) -> None:
        part = verification.Verification(problem, "leading", (), (), ("gradient", "factor-e"))
        raise Interrupted("The verification was interrupted.", partial=part)

    monkeypatch.setattr(verification, "verify", interrupted)
    target = tmp_path / "report"
    words = ["report", *PROBLEM, "--t-final", "50", "--no-attention", "-o", str(target)]
    assert cli.main(words) == 130
    out, err = capsys.readouterr()
    assert err == "headflow: The verification was interrupted.\n"
    assert "2 statements were not reached." in out
    assert out.endswith(f"Report: {target / 'index.html'}\n")
    assert {path.name for path in target.iterdir()} == FILES
    assert "2 statements were not reached." in (target / "index.html").read_text("utf-8")


def test_interrupted_derivations_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    topics = {"loss": catalogue.TOPICS["loss"], "phases": interrupted}
    monkeypatch.setattr(catalogue, "TOPICS", topics)
    target = tmp_path / "report"
    assert cli.main(["report", *PROBLEM, "-o", str(target)]) == 130
    said = f"headflow: The report was interrupted. Kept in {target}: derivation.tex.\n"
    assert capsys.readouterr() == ("", said)
    assert check_latex((target / "derivation.tex").read_text("utf-8")) == []
    monkeypatch.setattr(catalogue, "TOPICS", {"phases": interrupted})
    assert cli.main(["report", *PROBLEM, "-o", str(tmp_path / "another")]) == 130
    assert capsys.readouterr() == ("", "headflow: The report was interrupted.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.usefixtures("short")
def test_an_interrupted_flow_is_kept_beside_a_finished_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ProblemFile(Problem([4, 5], [1, 1], 0.1, 50, 2))
    part = integrate(given.problem, given.initial, t_final=5)

    def interrupted(*_: object, **__: object) -> None:
        raise IntegrationInterrupted("The integration was interrupted.", partial=part)

    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", interrupted)
    target = tmp_path / "report"
    target.mkdir()
    (target / "index.html").write_text("finished")
    for _ in range(2):
        assert cli.main(["report", *PROBLEM, "-o", str(target), "--force"]) == 130
        kept = tmp_path / "report-interrupted"
        said = f"headflow: The report was interrupted. Kept in {kept}: derivation.tex, trajectory.nc.\n"
        assert capsys.readouterr() == ("", said)
    assert (target / "index.html").read_text() == "finished"
    assert Trajectory.load(kept / "trajectory.nc").t[-1] == 5


@pytest.mark.slow
@pytest.mark.usefixtures("stubbed")
def test_a_flow_that_ends_early_is_reported_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ProblemFile(Problem([4, 5], [1, 1], 0.1, 50, 2))
    part = integrate(given.problem, given.initial, t_final=5)

    def integrated(*_: object, **__: object) -> None:
        raise IntegrationError("The solver gave up.", "Try another method.", part)

    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", integrated)
    target = tmp_path / "report"
    assert cli.main(["report", *PROBLEM, "-o", str(target)]) == 4
    out, err = capsys.readouterr()
    assert err == "headflow: The solver gave up. Try another method.\n"
    assert "index.html" in out
    assert "The integration ended early: The solver gave up." in (target / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("dims", "n_heads", "parametrisation", "t_final"),
    [
        pytest.param([5], 1, "balanced", 200.0, marks=pytest.mark.slow),
        ([4, 5, 6], 2, "balanced", 1000.0),
        ([4, 5], 3, "merged", 100.0),
        ([4, 5], 2, "balanced", 1.0),
        pytest.param([3] * 12, 40, "balanced", 300.0, marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_flow_has_figures(dims: list[int], n_heads: int, parametrisation: str, t_final: float) -> None:
    given = ProblemFile(Problem(dims, [1] * len(dims), 0.1, 100, n_heads), parametrisation=parametrisation)
    run = integrate(given.problem, given.initial, parametrisation, t_final=t_final)
    for name, svg in draw(run, compare(given.problem, run)).items():
        assert ElementTree.fromstring(inline_svg(svg, name)).tag == f"{SVG}svg"


def test_labels_of_close_levels_do_not_collide() -> None:
    t = np.geomspace(0.1, 1e3, 50)
    loss = 0.5 + 2 / (1 + t**2)
    levels = [Level(f"level {n}", 0.5 + n * 1e-4, BLUE if n % 2 else GREEN) for n in range(4)]
    svg = loss_figure(t, loss, levels, [Mark("early", 1.0), Mark("just after", 1.1)], levels[0])
    comments = re.findall(
        r"<!-- (level \d|early|just after) *-->\s*<g[^>]*transform=\"translate\(([\d.]+) ([\d.]+)", svg
    )
    places = {name: (float(x), float(y)) for name, x, y in comments}
    heights = sorted(y for name, (_, y) in places.items() if name.startswith("level"))
    assert len(heights) == 4
    assert min(np.diff(heights)) > 2 * 8.5
    assert places["early"][1] != places["just after"][1]


def test_heat_maps_number_from_one_on_one_scale() -> None:
    svg = heat_maps("μ", [Snapshot("start", np.full((2, 3), 0.03)), Snapshot("end", np.eye(2, 3) * 2.5)])
    texts = re.findall(r"<!-- (.*?) *-->", svg)
    assert texts.count("0.03") == 6
    assert texts.count("2.50") == 2
    assert {"start", "end", "task", "head", "1", "2", "3", "μ"} <= set(texts)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1"), (1e4, "10⁴"), (2e5, "2·10⁵"), (1e-7, "10⁻⁷"), (0.001, "0.001"), (0.0, "0")],
)
def test_tick_labels(value: float, shown: str) -> None:
    assert power_of_ten(value) == shown
    assert number(value) == shown


def test_numbers_in_words() -> None:
    assert number(float("nan")) == number(float("inf")) == number(None) == "—"
    assert number(-0.25) == "−0.25"
    assert number(9999.96, 4) == "10⁴"


def test_nobody_waits_for_latex_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[Derivation]:
        yield Derivation("whole", ())
        raise KeyboardInterrupt

    monkeypatch.setattr("headflow.theory.presentation.catalogue.each_derivation", interrupted)
    with pytest.raises(Interrupted) as caught:
        exposition("all", "balanced", "leading", in_latex=True)
    (derived,) = caught.value.partial.derivations  # type: ignore[attr-defined]
    assert "_latex" in vars(derived)
