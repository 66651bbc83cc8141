"""The report's page: every section's tables and figures in one HTML file."""

from alchemist.analysis.metrics import hundredfold
from alchemist.analysis.results import losses, summary
from alchemist.analysis.words import percent
from alchemist.core.one_line import one_line
from alchemist.pools.copies import SHOWN
from alchemist.report.advice import advice_part
from alchemist.report.agreement_tables import agreement_tables
from alchemist.report.category_tables import category_tables
from alchemist.report.copies_tables import copies_tables
from alchemist.report.cost_tables import cost_tables
from alchemist.report.curves import curves, rater_training
from alchemist.report.facts import facts, flat
from alchemist.report.ledger import check_sizes, ledger, ledger_table, licences, split_table
from alchemist.report.makeup import makeup
from alchemist.report.material import Material
from alchemist.report.paper import paper_parts
from alchemist.report.pictures import EXAMPLES, example_rows, sheets
from alchemist.report.preference_table import preference_table
from alchemist.report.reference_tables import reference_tables
from alchemist.report.result_tables import result_tables
from alchemist.report.sign_tables import sign_tables
from alchemist.report.story import caveats, story
from alchemist.report.template import rendered
from alchemist.report.verdict_tables import contrast_tables, left_out, verdict_tables


def render(material: Material) -> tuple[str, dict[str, str]]:
    """The page, and its figures as standalone SVG by name. Equal material gives equal bytes."""
    figures: dict[str, str] = {}
    accounts = ledger(material.index, material.subsets)
    check_sizes(material.study, accounts, material.scores)
    context = {
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
        "summary": [(k, f"{v:g}") for k, v in summary(material.study, material.table).items()],
        "summary_ratio": f"{max(material.study.grid.ratios):g}",
        "summary_model": material.study.grid.main,
        "verdicts": verdict_tables(material),
        "contrasts": contrast_tables(material),
        "left_out": left_out(material),
        "agreement": agreement_tables(material),
        "preferences": preference_table(material),
        "cost": cost_tables(material),
        "paper": paper_parts(material, figures),
        "curves": curves(material, figures),
        "makeup": makeup(material, figures),
        "examples": example_rows(material),
        "prompts": [one_line(prompt) for prompt in material.first.get("grid_prompts", [])],
        "sheets": sheets(material),
        "rating": rater_training(material, figures),
        "copies": copies_tables(material),
        "signs": sign_tables(material),
        "ledger": ledger_table(accounts),
        "ids": ledger_table(ledger(material.own, material.ids)) if material.ids else None,
        "splits": split_table(material.pool_card),
        "provenance": facts(material),
        "example_count": EXAMPLES,
        "copied_count": SHOWN,
        "params": list(flat(material.params)),
        "codec": list(flat(material.codec)),
        "licence": licences(material.pool_card),
    }
    return rendered("report", **context), figures
