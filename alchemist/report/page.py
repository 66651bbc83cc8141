"""The report's page: every section's tables and charts in one HTML file, which loads nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from alchemist.analysis.metrics import hundredfold
from alchemist.analysis.results import losses
from alchemist.analysis.words import percent
from alchemist.core.one_line import one_line
from alchemist.pools.copies import SHOWN
from alchemist.report.advice import advice_part
from alchemist.report.agreement_tables import agreement_tables
from alchemist.report.category_tables import category_tables
from alchemist.report.chart import Chart, as_script, library
from alchemist.report.copies_tables import copies_tables
from alchemist.report.cost_tables import cost_tables
from alchemist.report.curves import curves, rater_training
from alchemist.report.explore import explore
from alchemist.report.facts import facts, flat
from alchemist.report.ledger import check_sizes, ledger, ledger_table, licences, split_table
from alchemist.report.makeup import makeup
from alchemist.report.material import Material
from alchemist.report.opening import opening
from alchemist.report.overview import overview
from alchemist.report.paper import paper_parts
from alchemist.report.pictures import PROMPTS, sheets
from alchemist.report.preference_table import preference_table
from alchemist.report.provenance import provenance
from alchemist.report.reference_tables import reference_tables
from alchemist.report.result_tables import result_tables
from alchemist.report.sign_tables import sign_tables
from alchemist.report.story import caveats, story
from alchemist.report.template import rendered, script
from alchemist.report.text_tables import text_tables
from alchemist.report.verdict_tables import contrast_tables, left_out, untested, verdict_cards

# In their order; one whose part of the context is empty is not there.
SECTIONS = {
    "advice": "What to take", "overview": "Did it pay", "verdicts": "Verdicts", "results": "Results",
    "references": "References", "categories": "Categories", "curves": "Curves", "contrasts": "Contrasts",
    "agreement": "Agreement", "cost": "Cost", "paper": "Beside the paper", "makeup": "Ratings and kinds",
    "explore": "Explore", "samples": "Samples", "rating": "Rater training", "copies": "Copies",
    "signs": "Signs", "ledger": "Ledger", "facts": "Reproduction",
}  # fmt: skip


@dataclass(frozen=True)
class Rendered:
    """What the report is: the page, its charts by name, and its tables by name."""

    html: str
    charts: dict[str, Chart]
    tables: dict[str, pd.DataFrame]


def render(material: Material) -> Rendered:
    """The page, its charts and tables. Equal material gives equal bytes."""
    charts: dict[str, Chart] = {}
    accounts = ledger(material.index, material.subsets)
    check_sizes(material.study, accounts, material.scores)
    context = {
        "opening": opening(material, charts),
        "overview": (pays := overview(material, charts)),
        "story": story(material),
        "caveats": caveats(material),
        "seeds": len(material.study.grid.seeds),
        "confidence": percent(material.confidence),
        "advice": advice_part(material),
        "results": result_tables(material),
        "losses": bool(losses(material.table)),
        "categories": category_tables(material),
        "references": reference_tables(material),
        "silent": material.silent,
        "names": material.names,
        "clip_raw": not hundredfold(material.names["clip"]),
        "summary": [(k, f"{v:g}") for k, v in material.summary.items()],
        "summary_ratio": f"{max(material.study.grid.ratios):g}",
        "summary_model": material.study.grid.main,
        "verdicts": verdict_cards(material),
        "contrasts": contrast_tables(material),
        "left_out": left_out(material),
        "agreement": agreement_tables(material, charts),
        "preferences": preference_table(material),
        "cost": cost_tables(material),
        "paper": (paper := paper_parts(material, charts)),
        "curves": curves(material, charts),
        "makeup": makeup(material, charts),
        "explore": explore(material, charts),
        "prompts": [one_line(prompt) for prompt in material.first.get("grid_prompts", [])[:PROMPTS]],
        "sheets": sheets(material),
        "rating": rater_training(material, charts),
        "copies": copies_tables(material),
        "signs": sign_tables(material),
        "ledger": ledger_table(accounts),
        "ids": ledger_table(ledger(material.own, material.ids)) if material.ids else None,
        "splits": split_table(material.pool_card),
        "provenance": facts(material),
        "began": provenance(material),
        "copied_count": SHOWN,
        "params": list(flat(material.params)),
        "codec": list(flat(material.codec)),
        "licence": licences(material.pool_card),
        "untested": [*untested(material), *_absent(material, paper, pays)],
    }
    there = context | {
        "verdicts": context["verdicts"] or context["untested"],
        "overview": any(pays.values()),
    }
    nav = [(name, title) for name, title in SECTIONS.items() if there.get(name, True)]
    html = rendered(
        "report", **context, nav=nav, charts=Markup(as_script(charts)), library=Markup(library(script()))
    )
    return Rendered(html, charts, text_tables(material, paper))


def _absent(material: Material, paper: Mapping[str, Any], pays: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else the page would hold, and what the grid lacks for it."""
    out = []
    if not any(material.contrasts.values()) and not material.meaningless:
        one = len(material.study.grid.seeds) == 1
        why = "There is one seed a cell" if one else "statistics.primary in params.yaml is null"
        out.append(("contrasts", f"{why}, so no contrast was asked for."))
    needs = {
        "blocks": ("figure 2b of the paper", "It needs two blocks or more of one meta-trained rating."),
        "losses": ("figure 3 of the paper", "It needs a rater of kind loss beside a meta-trained one."),
        "speed": ("figure 6 of the paper", "It needs a random selection or one on a meta-trained rating."),
    }
    out += [said for name, said in needs.items() if not paper[name]]
    if not pays["cost"]:
        out.append(
            ("quality against cost", "Of some arm nobody counted the operations of rating or training.")
        )
    if material.kinds is None:
        out.append(("planted kinds", "This pool has no planted truth, so deciles and subsets have no kinds."))
    return out
