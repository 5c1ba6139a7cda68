"""Measures rankings with trec_eval, for the comparison in `reference.rs`."""

import json
import sys

import pytrec_eval

cases = json.load(sys.stdin)
qrels = {str(number): dict.fromkeys(case["relevant"], 1) for number, case in enumerate(cases)}
# trec_eval orders by score, not by position.
runs = {
    str(number): {item: float(len(case["ranking"]) - place) for place, item in enumerate(case["ranking"])}
    for number, case in enumerate(cases)
}
measured = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recip_rank", "success_5"}).evaluate(runs)
json.dump([measured[str(number)] for number in range(len(cases))], sys.stdout)
