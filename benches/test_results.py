"""The bench's own arithmetic: `python3 -m unittest discover benches`. Measures nothing."""

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import comparison_page
import document
import measure
import relay_page
import results
import run

import store


def report(**changes):
    """A report of the generator, as far as it is read: 2 connections, all streaming from second 2 to second 5."""

    def sample(at_s, tokens, cpu_s, resident):
        return {
            "at_s": at_s,
            "tokens": tokens,
            "server_cpu_s": cpu_s,
            "client_cpu_s": cpu_s / 2,
            "server_resident": resident,
        }

    return {
        "plan": {"connections": 2},
        "moments": {"all_asked_s": 2.0, "first_turn_ended_s": 5.0},
        "latencies": [
            {"name": "between tokens", "p50": 100.5, "p99": 104.0},
            {"name": "behind schedule", "p50": 0.1, "p99": 3.0},
        ],
        "connections": {"opened": 2},
        "turns": {"failed": 0, "unfinished": 0},
        "tokens": {"received": 80, "frames": 80},
        "transcripts": {"wrong": 0},
        "errors": {},
        "server": {
            "steady_us_per_token": 20.0,
            "idle_kb_per_connection": 1.5,
            "memory": {"before": 1_000_000},
        },
        "samples": [
            sample(1.0, 0, 0.0, 9_000_000),
            sample(2.5, 10, 0.5, 1_008_000),
            sample(4.5, 50, 2.5, 1_016_000),
            sample(5.5, 80, 3.0, 9_000_000),
        ],
        **changes,
    }


def streaming_runs(**changes):
    run = {
        "cpu_us_per_token": 10.0,
        "idle_kb": 2.0,
        "streaming_kb_begin": 5.0,
        "streaming_kb_end": 12.0,
        "jitter_p50_ms": 0.1,
        "jitter_p99_ms": 2.0,
        "late_p50_ms": 0.1,
        "late_p99_ms": 2.0,
        "generator_cores": 0.5,
        "tokens_per_frame": 1.0,
    }
    return [{**run, **changes}]


def relay_report(**changes):
    """A report of the relay client: 2 clients with 10 tokens each, both streaming from second 2 to second 5."""

    def sample(at_s, tokens, cpu_s, resident):
        return {"at_s": at_s, "tokens": tokens, "cpu_s": cpu_s, "resident": resident}

    return {
        "connections": 2,
        "connected": 2,
        "complete": 2,
        "wrong": 0,
        "errors": {},
        "moments": {"last_asked_s": 2.0, "first_ended_s": 5.0},
        "first_token_ms": {"p50": 3.0, "p99": 4.0},
        "late_ms": {"p50": 0.0, "p99": 1.5},
        "named": {"start": sample(0, 0, 0.0, 1_000_000), "before_asking": sample(1.0, 0, 0.25, 1_011_000)}
        | {"end": sample(9.0, 20, 0.35, 9_000_000)},
        "samples": [
            sample(1.9, 0, 0.26, 5_000_000),
            sample(2.5, 4, 0.30, 1_030_000),
            sample(3.5, 9, 0.31, 1_040_000),
            sample(4.5, 14, 0.32, 1_060_000),
            sample(5.5, 20, 0.34, 9_000_000),
        ],
        **changes,
    }


def record(result):
    """A record of a part, as it is read from its file."""
    facts = {"date": "today", "switchboard": "abc1234", "load_before": "0.10", "machine": {"Processor": "fast"}}
    return store.as_stored(facts | {"result": result, "faults": []})


def comparison():
    relays = {
        "bare relay": relay_runs(whole_us=20.0, streaming_us=20.0),
        "switchboard": relay_runs(whole_us=30.0, streaming_us=20.0),
        "switchboard before": relay_runs(whole_us=40.0, streaming_us=30.0),
    }
    p99s = {"floor": 1.0, "switchboard": 3.0, "switchboard before": 5.0}
    return {
        "before": "older",
        "relay": relays,
        "wire": {"switchboard": 60.0, "switchboard before": 180.0},
        "turns": {"switchboard": [{"per_second": 2750.0}], "switchboard before": [{"per_second": 2500.0}]},
        "first_token": {name: [{"p50_ms": 1.0, "p99_ms": p99}] for name, p99 in p99s.items()},
    }


def relay_runs(**changes):
    return [{**results.relay(relay_report(), 10), **changes}]


def headings(page):
    return [line for line in page.splitlines() if line.startswith("## ")]


def first_cells(table):
    return [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]


class Reports(unittest.TestCase):
    def test_what_is_kept_of_a_load(self):
        kept = results.streaming(report(), 100)
        self.assertEqual(kept["cpu_us_per_token"], 20.0)
        self.assertEqual((kept["jitter_p50_ms"], kept["jitter_p99_ms"]), (0.5, 4.0))
        # Only of the samples in which all stream: what it was before, and afterwards, is something else.
        self.assertEqual((kept["streaming_kb_begin"], kept["streaming_kb_end"]), (4.0, 8.0))
        self.assertEqual(kept["generator_cores"], 0.5)
        self.assertEqual(kept["tokens_per_frame"], 1.0)

    def test_a_load_too_short_to_say_says_nothing(self):
        kept = results.streaming(report(moments={"all_asked_s": 2.0, "first_turn_ended_s": 2.1}), 100)
        self.assertIsNone(kept["streaming_kb_begin"])
        self.assertIsNone(kept["generator_cores"])

    def test_every_fault_is_found(self):
        self.assertEqual(results.faults(report()), [])
        bad = report(
            connections={"opened": 1},
            turns={"failed": 2, "unfinished": 3},
            transcripts={"wrong": 4},
            errors={"OVERLOADED": 5},
        )
        self.assertEqual(
            results.faults(bad),
            [
                "1 of 2 connections opened",
                "2 turns failed",
                "3 turns unfinished",
                "4 transcripts wrong",
                "5 × OVERLOADED",
            ],
        )


class Relay(unittest.TestCase):
    def test_a_question_costs_what_its_tokens_do_not(self):
        kept = results.relay(relay_report(), 10)
        self.assertAlmostEqual(kept["whole_us"], 5000)
        # 0.02 s for the 10 tokens between the first and the last sample in which both stream.
        self.assertAlmostEqual(kept["streaming_us"], 2000)
        self.assertAlmostEqual(kept["question_ms"], (100 - 40) / 2)
        self.assertAlmostEqual(kept["streaming_kb"], 20)
        self.assertAlmostEqual(kept["idle_kb"], 5.5)

    def test_only_complete_answers_count(self):
        wrong = relay_report(complete=1, wrong=1)
        self.assertAlmostEqual(results.relay(wrong, 10)["whole_us"], 10_000)
        self.assertEqual(
            results.relay_faults(wrong), ["1 of 2 answers complete", "1 answers differ from the upstream's"]
        )
        self.assertEqual(results.relay_faults(relay_report()), [])
        self.assertEqual(results.relay_faults(relay_report(errors={"TIMEOUT": 3})), ["3 × TIMEOUT"])

    def test_without_a_time_in_which_all_stream_only_the_whole_job_is_known(self):
        kept = results.relay(relay_report(moments={"last_asked_s": 4.0, "first_ended_s": 3.0}), 10)
        self.assertAlmostEqual(kept["whole_us"], 5000)
        self.assertIsNone(kept["streaming_us"] or kept["question_ms"] or kept["streaming_kb"])

    def test_a_server_that_falls_behind_is_marked(self):
        runs = {"bare relay": relay_runs(), "fastapi relay": relay_runs(late_p99_ms=4000.0)}
        text = relay_page.of_clients(record({"runs": runs, "wire": {}}), 1000)
        lines = {line.split(" | ")[0]: line for line in text.splitlines()}
        self.assertIn("does not keep up", lines["| fastapi relay"])
        self.assertNotIn("does not keep up", lines["| bare relay"])

    def test_the_cost_of_answers_that_are_mostly_missing_is_not_shown(self):
        few = relay_runs(complete=0.003, whole_us=160_000.0, question_ms=16_000.0, late_p99_ms=10.0)
        text = relay_page.of_clients(record({"runs": {"bare relay": relay_runs(), "litellm": few}, "wire": {}}), 1000)
        line = next(line for line in text.splitlines() if line.startswith("| litellm"))
        self.assertTrue(line.startswith("| litellm | – | – | ") and "does not keep up" in line, line)
        self.assertNotIn("16,000", line)

    def test_every_server_of_the_job_says_what_it_leaves_out(self):
        for name in (*run.RELAY, *run.PRODUCTS):
            self.assertIn(name, relay_page.OMITS)


class Comparison(unittest.TestCase):
    def test_two_binaries_are_compared_by_pairs(self):
        # The machine is slower from round to round, and the new binary takes half as long in most of them.
        new = [{"x": value} for value in (10.0, 20.0, 30.0, 40.0, 400.0)]
        old = [{"x": value} for value in (20.0, 40.0, 40.0, 80.0, 500.0)]
        cells = comparison_page.pairs({"switchboard": new, "switchboard before": old}, "x")
        self.assertEqual(cells, ["0.50", "0.50 to 0.75", "0.50 to 0.80", 5])

    def test_there_is_a_row_for_every_target_of_the_relay_job(self):
        rows = {row[0]: row for row in comparison_page.rows(comparison())}
        self.assertEqual(
            [row[1] for row in rows.values()], ["≤ 1.6", "≤ 1.2", "≤ 0.6", "≤ 85", "≤ 24", *["no worse"] * 3]
        )
        # 30 and 40 of the bare relay's 20.
        self.assertEqual(rows["relay, whole job: CPU per token, × bare relay"][2:5], ["1.50", "2.00", "0.75"])
        self.assertEqual(rows["relay: bytes per token on the WebSocket"][2:5], ["60.0", "180", "0.33"])
        # 2 and 4 ms over the floor of the same round.
        self.assertEqual(rows["first token p99 over the floor, ms"][2:5], ["2.00", "4.00", "0.50"])
        self.assertEqual(rows["whole stored turns/s"][4], "1.10")
        self.assertFalse([row for row in rows.values() if len(row) != 8], "a row with other columns than the head")


class Arithmetic(unittest.TestCase):
    def test_medians_leave_out_what_is_missing(self):
        self.assertEqual(
            results.medians([{"a": 1, "b": None}, {"a": 9, "b": 4}, {"a": 2, "b": None}]), {"a": 2, "b": 4}
        )
        self.assertIsNone(results.median([None]))

    def test_ratios_are_of_the_same_round(self):
        # The machine was twice as slow in the second round, and twice again in the third: nothing changed.
        floor = [{"x": 1.0}, {"x": 2.0}, {"x": 4.0}]
        self.assertEqual(results.paired_ratio([{"x": 1.5}, {"x": 3.0}, {"x": 6.0}], floor, "x"), 1.5)
        self.assertIsNone(results.ratio(1.0, 0.0))
        self.assertIsNone(results.ratio(None, 1.0))

    def test_growth_tells_linear_from_quadratic(self):
        self.assertAlmostEqual(results.growth([(n, 3 * n) for n in (250, 500, 1000, 2000)]), 1.0)
        self.assertAlmostEqual(results.growth([(n, n * n / 7) for n in (250, 500, 1000, 2000)]), 2.0)
        self.assertIsNone(results.growth([(250, 1.0), (500, 0.0)]))

    def test_targets_are_met_or_missed(self):
        self.assertIs(results.target("", 1.25, 1.25)["is_met"], True)
        self.assertIs(results.target("", 1.26, 1.25)["is_met"], False)
        self.assertIs(results.target("", 1999, 2000, is_at_most=False)["is_met"], False)
        self.assertIs(results.target("", None, 1.25)["is_met"], None)

    def test_numbers_and_tables_are_readable(self):
        self.assertEqual(
            [results.number(value) for value in (None, 1.234, 134.4, 2345.6)], ["–", "1.23", "134", "2,346"]
        )
        self.assertEqual(results.table(["a", "b"], [["x", 1]]), "| a | b |\n| --- | ---: |\n| x | 1 |")


def everything(ours_us=13.0):
    """A record of every part."""
    names = {"floor": {}, "axum": {"cpu_us_per_token": 12.0}, "switchboard": {"cpu_us_per_token": ours_us}}
    of_size = {name: streaming_runs(**changes) for name, changes in names.items()}

    def answer(kb, cpu_ms):
        return [{"kb": kb, "cpu_ms": cpu_ms, "tokens_per_frame": 1.0}]

    relays = {"bare relay": relay_runs(whole_us=20.0), "switchboard": relay_runs(whole_us=30.0, question_ms=0.7)}
    parts = {
        "relay-1000": {"runs": relays, "wire": {"switchboard": 72.0}},
        "products-100": {"runs": relays | {"litellm": relay_runs(whole_us=400.0)}, "wire": {}},
        "comparison": comparison(),
        "streaming-1000": {"tokens": 200, "runs": of_size},
        "streaming-15000": {"tokens": 250, "runs": of_size},
        "first-token": {"floor": [{"p50_ms": 0.5, "p99_ms": 1.0}], "switchboard": [{"p50_ms": 1.0, "p99_ms": 2.5}]},
        "turns": {name: [{"per_second": 2500.0, "cpu_ms": 0.4}] for name in ("floor", "switchboard")},
        "sign-ins": [{"bare_per_second": 80.0, "bare_cpu_ms": 24.0, "per_second": 76.0, "cpu_ms": 25.0}],
        "jitter": [
            {
                "switchboard_alone": 1.0,
                "switchboard_beside": 3.5,
                "sign_ins_per_second": 60.0,
                "floor_alone": 1.0,
                "floor_beside": 6.0,
            }
        ],
        "classic": {
            "chat.v2": {"500": answer(100, 10.0), "1000": answer(200, 20.0)},
            "chat.v1": {"500": answer(1_000, 11.0), "1000": answer(4_000, 24.0)},
        },
    }
    return {part: record(result) for part, result in parts.items()}


class Document(unittest.TestCase):
    def test_each_target_is_compared_with_what_was_measured(self):
        for ours_us, is_met in ((11.0, True), (13.0, False)):
            found = {line["what"]: line for line in document.targets(everything(ours_us))}
            self.assertIs(found["CPU per token, as a ratio to the floor, at 15,000"]["is_met"], ours_us <= 12.5)
            self.assertIs(found["relay: CPU to start and end a question"]["is_met"], False)
            self.assertIs(found["relay: bytes per token on the WebSocket"]["is_met"], True)
            self.assertIs(found["CPU per token, as a ratio to axum, at 1,000"]["is_met"], is_met)
            self.assertAlmostEqual(found["added first-token latency, p99, at 1,000"]["value"], 1.5)
            self.assertIs(found["sign-ins, as a share of a bare argon2 loop"]["is_met"], True)
            self.assertIs(found["p99 jitter added by sign-ins"]["is_met"], False)
            self.assertIs(found["whole turns, stored"]["is_met"], True)
            growth = found["`chat.v1`: CPU grows as bytes to the power of"]
            self.assertTrue(growth["is_met"] and 0.5 < growth["value"] < 0.6, growth)

    def test_the_page_opens_with_results_and_the_relay_job(self):
        records = everything()
        records["first-token"]["faults"] = ["floor: 1 turns failed"]
        page = document.render(records)
        for text in ("## 15,000 streams", "| switchboard | 13.00 | 1.30 |", "- first-token: floor: 1 turns failed"):
            self.assertIn(text, page)
        self.assertEqual(
            headings(page)[:4],
            ["## Results", "## Relay of a model's answers", "## Products at the relay job", "## Compared with older"],
        )
        self.assertEqual(headings(page)[-1], "## How it was measured")
        self.assertNotIn("missed", page)

    def test_targets_replace_those_of_the_run_before(self):
        page = f"Before.\n\n{document.TARGETS_BEGIN}\nold\n{document.TARGETS_END}\n\nAfter."
        once = document.with_targets(page, everything())
        row = "| CPU per token, as a ratio to the floor, at 15,000 | 1.30 × | ≤ 1.25 × | **missed** | today, abc1234 |"
        self.assertIn(row, once)
        self.assertTrue(once.startswith("Before.") and once.endswith("After.") and "old" not in once, once)
        self.assertEqual(document.with_targets(once, everything()), once)

    def test_each_table_says_when_it_was_measured(self):
        records = everything()
        before = document.render(records)
        part = relay_runs(whole_us=14.0)
        records["relay-1000"] = record(
            {"runs": {"bare relay": relay_runs(whole_us=10.0), "switchboard": part}, "wire": {}}
        )
        records["relay-1000"] |= {"date": "later", "switchboard": "def5678", "load_before": "2.70"}
        after = document.render(records)
        self.assertEqual(headings(after), headings(before))
        what = "relay at 1,000, whole job: CPU per token, as a ratio to the bare relay"
        self.assertIn(f"| {what} | 1.40 × | median of 1 pairs | later, def5678 |", after)
        self.assertIn("Measured on later with Switchboard def5678. **The machine was busy", after)
        self.assertIn("## Whole turns\n\nMeasured on today with Switchboard abc1234.\n", after)
        changed = set(after.splitlines()) - set(before.splitlines())
        self.assertFalse([line for line in changed if "stored" in line], changed)
        self.assertIn(f"| {what} | 1.40 × | ≤ 1.6 × | met | later, def5678 |", document.targets_table(records))

    def test_machines_are_listed_apart_when_they_differ(self):
        records = everything()
        one = document.machine(records)
        self.assertEqual(one.count("- Processor: fast"), 1)
        records["turns"]["machine"] = {"Processor": "slow"}
        two = document.machine(records)
        self.assertIn("turns:\n\n- Processor: slow", two)
        self.assertEqual(two.count("- Processor: fast"), 1)

    def test_a_target_that_was_not_measured_is_listed(self):
        listed = first_cells(document.targets_table({}))
        self.assertEqual(listed, first_cells(document.targets_table(everything())))
        self.assertIn("| – | ≤ 1.6 × | not measured |  |", document.targets_table({}))
        self.assertIn("None: no connection failed", document.render({}))


class Store(unittest.TestCase):
    def test_a_part_replaces_its_own_record_only(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder) / "results"
            self.assertEqual(store.load(folder), {})
            for part, of_part in everything().items():
                store.save(part, of_part, folder)
            store.save("turns", record({"floor": [], "switchboard": []}), folder)
            found = store.load(folder)
            self.assertEqual(found.keys(), everything().keys())
            self.assertEqual(found.pop("turns")["result"], {"floor": [], "switchboard": []})
            self.assertTrue(all(found[part] == everything()[part] for part in found))

    def test_the_published_pages_are_those_of_the_stored_results(self):
        records = store.load()
        self.assertTrue(records)
        rewrite = "`python3 benches/run.py page` writes the pages again"
        self.assertEqual((run.ROOT / "docs" / "BENCHMARKS.md").read_text(), document.render(records), rewrite)
        performance = (run.ROOT / "docs" / "PERFORMANCE.md").read_text()
        self.assertEqual(performance, document.with_targets(performance, records), rewrite)


class Runs(unittest.TestCase):
    def names(self, *words):
        options = run.parse(words)
        return [part.name for part in run.parts_of(options)]

    def test_a_part_can_be_measured_alone(self):
        self.assertEqual(self.names("full", "--only", "relay,turns"), ["relay-100", "relay-1000", "turns"])
        self.assertEqual(self.names("full", "--only", "streaming-1000"), ["streaming-1000"])
        self.assertEqual(self.names("quick"), ["relay-1000", "streaming-1000", "first-token", "turns"])
        self.assertEqual(self.names("products"), ["products-50", "products-100", "products-1000"])
        with self.assertRaisesRegex(SystemExit, "unknown part nonsense"):
            self.names("full", "--only", "nonsense")

    def test_quick_runs_servers_in_rust_only(self):
        options = run.parse(["quick"])
        servers = {name for part in run.quick(options) for name in part.servers}
        self.assertEqual(servers, {"bare relay", *run.RUST})

    def test_a_table_with_a_part_of_the_servers_is_not_written(self):
        for words in (
            ["full", "--servers", "node", "--write"],
            ["quick", "--write"],
            ["smoke", "--write"],
            ["compare"],
        ):
            with mock.patch("sys.stderr"), self.assertRaises(SystemExit):
                run.parse(words)
        self.assertTrue(run.parse(["relay", "--write"]).write)

    def test_every_server_that_is_not_there_is_reported_where_it_is_missing(self):
        taken = []
        part = run.Part("relay-20", run.RELAY, lambda names: taken.extend(names) or {})
        of_part = run.record(part, {"node": "no npm", "fastapi": "", "litellm": "no pip"}, 0.1)
        self.assertEqual(taken, ["bare relay", "switchboard"])
        self.assertEqual(of_part["faults"], ["node: not measured: no npm"])
        self.assertEqual(measure.take_faults(), [])


class Servers(unittest.TestCase):
    def test_a_server_that_does_not_start_says_why_and_leaves_nothing(self):
        server = measure.Server("floor")
        server.command = lambda _: (["sh", "-c", "echo no such port; exit 3"], {})
        with self.assertRaisesRegex(RuntimeError, "floor did not start:\nno such port"), server:
            self.fail("it started")
        self.assertEqual(server.process.returncode, 3)
        self.assertFalse(server.log_path.exists())

    def test_what_a_server_started_ends_with_it(self):
        server = measure.Server("floor")
        # Listens, as a child of a shell that only waits for it and dies first.
        child = f"import socket,time; it=socket.create_server(('127.0.0.1',{server.port})); time.sleep(60)"
        server.command = lambda _: (["sh", "-c", f'{sys.executable} -c "{child}" & wait'], {})
        with server:
            group = server.process.pid
        with self.assertRaises(ProcessLookupError):
            self.wait_until_gone(group)

    def wait_until_gone(self, group):
        until = time.monotonic() + 10
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
