"""README is short, and its numbers are those of the committed run."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.pages import ROOT, blocks

README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """The code block of a language that contains a text."""
    found = [block.text for block in blocks(ROOT / "README.md") if block.language == language]
    return next(text for text in found if containing in text)


def test_a_solver_of_ones_own_takes_at_most_15_lines_and_is_the_example() -> None:
    solver = block("python", "SignDescent")
    assert len([line for line in solver.splitlines() if line.strip()]) <= 15
    assert solver == (ROOT / "examples/sign_descent.py").read_text()


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    exec(block("python", "import api"), scope)
    mean, floor = (float(word) for word in capsys.readouterr().out.splitlines()[1].split())  # of the Memformer
    assert 1.0 <= mean / floor < 1.1


def test_the_first_screen_is_short_and_its_numbers_are_those_of_the_committed_run(
    ranked_reference: pd.DataFrame,
) -> None:
    assert len(README.splitlines()) <= 150
    rows = ranked_reference.query(
        "law == 'anisotropic' and d == 5 and steps == 4 and law_params.str.contains('paper')"
    ).set_index("solver")
    shown = {
        "Memformer, scalar preconditioner": "memformer_first_order_scalar",
        "LSTM optimizer": "lstm_optimizer",
        "softmax Transformer of 4 layers": "transformer_softmax",
        "cg, preconditioned by a network that reads H": "learned_preconditioner",
        "cg": "cg",
        "Memformer, full preconditioner": "memformer_first_order",
        "pcg": "pcg",
        "Newton–Schulz from the law's inverse": "newton_schulz_law",
        "Memformer, full preconditioner, P free (GD++)": "memformer_gdpp",
    }
    for title, solver in shown.items():
        row = rows.loc[solver]
        interval = f"{row['log_loss']:.2f} [{row['log_low']:.2f}, {row['log_high']:.2f}]"
        (line,) = (line for line in README.splitlines() if line.startswith(f"| {title} |"))
        gap = "no floor known" if pd.isna(row["gap_to_floor"]) else f"{row['gap_to_floor']:.2f}"
        assert line.endswith(f"| {interval} | {gap} |")
    assert "| exact |" in README
    assert f"{row['num_tasks']:,} fresh tasks" in README
