//! The measures of rankings against trec_eval, through its Python package.

use crate::harness::installed;
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};
use switchboard::eval::{hits_within, ndcg, reciprocal_rank};

const CASES: usize = 500;

/// A ranking of items, and the items that are relevant.
struct Case {
    ranking: Vec<u32>,
    relevant: Vec<u32>,
}

impl Case {
    fn random(random: &mut fastrand::Rng) -> Self {
        let mut items: Vec<u32> = (0..40).collect();
        random.shuffle(&mut items);
        let ranking = items[..random.usize(1..=25)].to_vec();
        random.shuffle(&mut items);
        // Some are never found.
        Self { ranking, relevant: items[..random.usize(1..=15)].to_vec() }
    }

    fn json(&self) -> Value {
        let names = |items: &[u32]| items.iter().map(|item| format!("d{item}")).collect::<Vec<_>>();
        json!({"ranking": names(&self.ranking), "relevant": names(&self.relevant)})
    }
}

#[test]
fn measures_equal_those_of_trec_eval() {
    let python = installed("target/tools/venv/bin/python");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let cases: Vec<Case> = (0..CASES).map(|_| Case::random(&mut random)).collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/quality/reference.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = Value::Array(cases.iter().map(Case::json).collect()).to_string();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "pytrec_eval is missing or failed: run `make tools`");
    let measured: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(measured.len(), CASES);
    for (case, theirs) in cases.iter().zip(&measured) {
        let hits: Vec<bool> = case.ranking.iter().map(|item| case.relevant.contains(item)).collect();
        let ours = [
            ("ndcg_cut_10", ndcg(&hits, case.relevant.len(), 10)),
            ("recip_rank", reciprocal_rank(&hits)),
            ("success_5", if hits_within(&hits, 5) { 1.0 } else { 0.0 }),
        ];
        for (name, ours) in ours {
            let theirs = theirs[name].as_f64().unwrap();
            assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} here, {theirs} there: {}", case.json());
        }
    }
}
