"""The list of all addresses, from which routes and the OpenAPI document are made."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from dqm_app.api.answers import (
    CamerasAnswer,
    RunAnswer,
    TableAnswer,
    VerdictAnswer,
)
from dqm_app.api.questions import (
    HistoryQuestion,
    Question,
    RunsQuestion,
    TableQuestion,
    TrendQuestion,
)
from dqm_db.content import LARGEST_RUN

BASE = "/api/v1"
_NAME = r"[\w.+-]{1,100}"
NAME = f"({_NAME})"
NUMBER = r"([0-9]{1,10})"
_NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME}$"}
IN_PATH = {
    "camera": (NAME, _NAME_SCHEMA, "Name of the camera."),
    "run": (NUMBER, {"type": "integer", "minimum": 0, "maximum": LARGEST_RUN}, "Run number."),
    "quantity": (NAME, _NAME_SCHEMA, "EXTNAME."),
}


@dataclass(frozen=True, slots=True)
class Resource:
    """One address.

    Attributes
    ----------
    name : str
        Of the class in `dqm_app.api.handlers` that answers, and of the operation.
    path : str
        Below `BASE`, with ``{camera}``, ``{run}`` and ``{quantity}``.
    summary : str
    question, answer : type
        Models of parameters and answer; `TableAnswer`: a table, in any format.
    """

    name: str
    path: str
    summary: str
    question: type[Question]
    answer: type[BaseModel]

    @property
    def pattern(self) -> str:
        """Regular expression of the whole path; a group per parameter."""
        pattern = self.path
        for name, (expression, _, _) in IN_PATH.items():
            pattern = pattern.replace(f"{{{name}}}", expression)
        return f"{BASE}{pattern}"

    @property
    def parameters(self) -> list[str]:
        """Names of what is in the path, in order."""
        return [name for name in IN_PATH if f"{{{name}}}" in self.path]

    @property
    def is_table(self) -> bool:
        """Whether it answers with a table."""
        return self.answer is TableAnswer


RUN = "/cameras/{camera}/runs/{run}"
RESOURCES = (
    Resource(
        "Cameras", "/cameras", "All cameras of which there are runs.", Question, CamerasAnswer
    ),
    Resource(
        "Runs",
        "/cameras/{camera}/runs",
        "Runs of a camera that match, page by page.",
        RunsQuestion,
        TableAnswer,
    ),
    Resource("Run", RUN, "A run: times, events, origin, and what it has.", Question, RunAnswer),
    Resource("Verdict", f"{RUN}/verdict", "What the checks say of a run.", Question, VerdictAnswer),
    Resource(
        "Statistics", f"{RUN}/statistics", "All statistics of a run.", TableQuestion, TableAnswer
    ),
    Resource(
        "Quantity",
        f"{RUN}/quantities/{{quantity}}",
        "A quantity of a run, exactly as stored.",
        TableQuestion,
        TableAnswer,
    ),
    Resource(
        "TrendNames",
        "/cameras/{camera}/trends/names",
        "Of what there are trends.",
        TableQuestion,
        TableAnswer,
    ),
    Resource(
        "Trends",
        "/cameras/{camera}/trends",
        "Statistics over all runs.",
        TrendQuestion,
        TableAnswer,
    ),
    Resource(
        "History",
        "/cameras/{camera}/pixels/{quantity}",
        "A quantity of some pixels over all runs.",
        HistoryQuestion,
        TableAnswer,
    ),
)
