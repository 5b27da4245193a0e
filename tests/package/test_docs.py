"""What the documentation shows works: commands parse, Python runs, links lead somewhere, tables agree with the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import database_section
import jsonargparse
import pytest
import risk_missing

from ecgloss import cli
from ecgloss.commands import COMMANDS
from ecgloss.configuration import check_configuration
from ecgloss.data import CARDS
from ecgloss.risk.models import countries
from ecgloss.usage import UsageError, check_command, check_words

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
NOT_RUN = "<!-- not run -->"
# A fence, its language, and the lines up to a closing fence of the same indentation.
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
IMAGE = re.compile(r"(?:src|srcset|href)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, and what is in it."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] if line.strip() else line for line in match["code"].splitlines(keepends=True))
        before = text[: match.start()].rstrip()
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(page, line, match["language"], code, runs=not before.endswith(NOT_RUN))


def commands(block: Block) -> list[list[str]]:
    """Words after ``ecgloss`` of every such line; a line that ends in a backslash goes on in the next."""
    lines = block.code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if line.strip()]
    return [line[1:] for line in words if line[:1] == ["ecgloss"]]


def identifier(value: object) -> str | None:
    return value.relative_to(REPOSITORY).as_posix() if isinstance(value, Path) else None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, so that an example never writes into the repository or into a user's caches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECGLOSS_CACHE", str(tmp_path / "caches"))
    return tmp_path


def parse(words: list[str]) -> None:
    """Check the words as the program does; an error is raised."""
    words = [cli._underscores(word) for word in words]
    if "--help" in words or words == ["--version"]:
        return
    command = check_command(words)
    given = check_words(command, words[1:])
    if "config" in given:
        check_configuration(given["config"], command)
    make, _ = COMMANDS[command]
    make(jsonargparse).parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_commands_on_the_page_are_understood(page, folder, capsys):
    found = list(blocks(page))
    for block in found:  # a configuration file is shown with its name in the first line
        name = re.match(r"# (\S+\.yaml)\n", block.code)
        if block.language == "yaml" and name:
            (folder / name[1]).write_text(block.code, encoding="utf-8")
    for block in found:
        for words in commands(block) if block.language == "bash" else ():
            place = f"{page.name}:{block.line}: ecgloss {shlex.join(words)}"
            try:
                parse(words)
            except (jsonargparse.ArgumentError, UsageError) as error:
                pytest.fail(f"{place}: {error}")
            except SystemExit as stop:  # --help, --version, --print_config
                if stop.code:
                    pytest.fail(f"{place}: exit code {stop.code}")


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_python_on_the_page_runs(page, folder):
    names: dict[str, object] = {"__name__": "__main__"}  # a reader runs the blocks of a page one after the other
    for block in blocks(page):
        if block.language == "python" and block.runs:
            padded = "\n" * (block.line - 1) + block.code  # errors then show the line of the page
            exec(compile(padded, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_links_on_the_page_lead_to_files(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in [*LINK.findall(text), *IMAGE.findall(text)]:
        path = target.partition("#")[0]
        if not re.match(r"[a-z]+:", target) and path:
            assert (page.parent / path).exists(), f"{page.name} links to {target}"


def test_a_command_that_does_not_exist_any_more_would_be_noticed():
    block = Block(Path("page.md"), 1, "bash", "ecgloss pretrain --data x \\\n  --no_such_option 3  # why\nls\n", True)
    (words,) = commands(block)
    assert words == ["pretrain", "--data", "x", "--no_such_option", "3"]
    with pytest.raises(UsageError, match="no_such_option"):
        parse(words)


def test_blocks_are_found_where_they_are(tmp_path):
    text = "a\n```bash\necgloss info\n```\n\n<!-- not run -->\n```python\nx = 1\n\ny\n```\n"
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    first, second = blocks(page)
    assert (first.language, first.line, first.code, first.runs) == ("bash", 3, "ecgloss info\n", True)
    assert (second.language, second.line, second.code, second.runs) == ("python", 8, "x = 1\n\ny\n", False)


def test_databases_are_described_as_the_code_reads_them():
    text = database_section.PAGE.read_text(encoding="utf-8")
    assert database_section.filled(text) == text, "run python bench/database_section.py"
    assert all(card.citation in text for card in CARDS)


def test_every_option_named_on_the_command_page_exists():
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    help_texts = []
    for make, _ in COMMANDS.values():
        help_texts.append(make(jsonargparse).format_help())
    known = set(re.findall(r"--[a-z][\w.]*", "\n".join(help_texts))) | {"--debug", "--print_config"}
    named = set(re.findall(r"`(--[a-z][\w.]*)(?=[ `])", text))
    assert named, "no option found: the pattern is wrong"
    assert named <= known, f"unknown options: {sorted(named - known)}"


@pytest.mark.slow
def test_the_commands_on_own_data_run_on_the_data_that_the_page_makes(folder, capsys):
    names: dict[str, object] = {"__name__": "__main__"}
    done = 0
    for block in blocks(REPOSITORY / "docs" / "own_data.md"):
        if block.language == "python":
            exec(compile(block.code, "own_data.md", "exec"), names)
        for words in commands(block) if block.language == "bash" and block.runs else ():
            assert cli.main(words) == 0, words
            done += 1
    assert done == 5
    said = capsys.readouterr().err
    assert "left out, because they are no ECG leads: SaO2 (in 4 records); --leads NAME,... takes those in volts" in said
    assert "clef: patients.csv: record = file, patient = pid, risk = my_score, label = af; recognised age" in said
    assert "clef: rows.csv: 24 of 24 recordings found by file" in said


def test_the_table_of_missing_inputs_is_that_of_the_committed_results():
    text = risk_missing.PAGE.read_text(encoding="utf-8")
    assert risk_missing.filled(text) == text, "run python bench/risk_missing.py"


def test_the_countries_on_the_risk_page_are_those_of_the_package():
    text = (REPOSITORY / "docs" / "risk.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(low|moderate|high|very_high)` \| (.*) \|$", text, re.MULTILINE))
    regions = {country: region for country, region in countries().regions.items() if region != "prevent"}
    assert {country: region for region, row in listed.items() for country in row.split(", ")} == regions
