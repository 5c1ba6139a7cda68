//! Response of `/embeddings`, validated. Pure.

use serde::Deserialize;

/// Fault in the response of an embedding model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVectors {
    #[error("the response is not a list of embeddings in JSON (line {line}, column {column})")]
    Malformed { line: usize, column: usize },
    #[error("{got} vectors for {expected} texts")]
    Count { expected: usize, got: usize },
    #[error("the indexes of the vectors are not those of the texts")]
    Indexes,
    #[error("a vector has {got} numbers instead of {expected}")]
    Length { expected: usize, got: usize },
    #[error("a vector contains a number that is not finite")]
    NotFinite,
    #[error("a vector has no direction")]
    Zero,
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// Reads the vectors of `texts` texts, in their order, and normalizes them to length 1. All must have `length` numbers; without it,
/// as many as the first.
///
/// # Errors
/// The first fault.
pub fn read_vectors(body: &[u8], texts: usize, length: Option<usize>) -> Result<Vec<Vec<f32>>, InvalidVectors> {
    let response: Embeddings = serde_json::from_slice(body)
        .map_err(|error| InvalidVectors::Malformed { line: error.line(), column: error.column() })?;
    if response.data.len() != texts {
        return Err(InvalidVectors::Count { expected: texts, got: response.data.len() });
    }
    let mut vectors = vec![None; texts];
    let mut expected = length;
    for (place, Embedding { index, embedding }) in response.data.into_iter().enumerate() {
        let got = embedding.len();
        let expected = *expected.get_or_insert(got);
        if got != expected {
            return Err(InvalidVectors::Length { expected, got });
        }
        let vector = vectors.get_mut(index.unwrap_or(place)).filter(|vector| vector.is_none());
        *vector.ok_or(InvalidVectors::Indexes)? = Some(normalized(embedding)?);
    }
    vectors.into_iter().collect::<Option<_>>().ok_or(InvalidVectors::Indexes)
}

fn normalized(mut vector: Vec<f32>) -> Result<Vec<f32>, InvalidVectors> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return Err(InvalidVectors::NotFinite);
    }
    if norm == 0.0 {
        return Err(InvalidVectors::Zero);
    }
    vector.iter_mut().for_each(|number| *number = (f64::from(*number) / norm) as f32);
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, texts: usize, length: Option<usize>) -> Result<Vec<Vec<f32>>, InvalidVectors> {
        read_vectors(body.as_bytes(), texts, length)
    }

    #[test]
    fn vectors_are_normalized_and_in_the_order_of_the_texts() {
        let body =
            r#"{"object":"list","data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}],"model":"m"}"#;
        assert_eq!(read(body, 2, Some(2)), Ok(vec![vec![0.6, 0.8], vec![0.0, 1.0]]));
        let without_index = r#"{"data":[{"embedding":[1e30,0]},{"embedding":[0,1e-30]}]}"#;
        assert_eq!(read(without_index, 2, None), Ok(vec![vec![1.0, 0.0], vec![0.0, 1.0]]));
    }

    #[test]
    fn numbers_that_are_not_finite_are_rejected() {
        // JSON has no notation for them: servers write null or NaN, or a number that is too large.
        for number in ["NaN", "null", "Infinity", "1e999"] {
            let fault = read(&format!(r#"{{"data":[{{"embedding":[1,{number}]}}]}}"#), 1, None);
            assert!(matches!(fault, Err(InvalidVectors::Malformed { .. })), "{number}: {fault:?}");
        }
        assert_eq!(read(r#"{"data":[{"embedding":[1,1e39]}]}"#, 1, None), Err(InvalidVectors::NotFinite));
    }

    #[test]
    fn wrong_lengths_counts_and_indexes_are_rejected() {
        let two = |one: &str, other: &str| format!(r#"{{"data":[{one},{other}]}}"#);
        let (a, b) = (r#"{"index":0,"embedding":[1,0]}"#, r#"{"index":1,"embedding":[1]}"#);
        assert_eq!(read(&two(a, b), 2, None), Err(InvalidVectors::Length { expected: 2, got: 1 }));
        assert_eq!(read(&two(a, a), 2, Some(3)), Err(InvalidVectors::Length { expected: 3, got: 2 }));
        assert_eq!(read(&two(a, a), 2, None), Err(InvalidVectors::Indexes));
        assert_eq!(read(&two(a, r#"{"index":2,"embedding":[1,0]}"#), 2, None), Err(InvalidVectors::Indexes));
        assert_eq!(read(&two(a, a), 1, None), Err(InvalidVectors::Count { expected: 1, got: 2 }));
        assert_eq!(read(r#"{"data":[]}"#, 1, None), Err(InvalidVectors::Count { expected: 1, got: 0 }));
        for empty in [r#"{"data":[{"embedding":[0,0]}]}"#, r#"{"data":[{"embedding":[]}]}"#] {
            assert_eq!(read(empty, 1, None), Err(InvalidVectors::Zero));
        }
        assert_eq!(read("{\n ]", 1, None), Err(InvalidVectors::Malformed { line: 2, column: 2 }));
    }
}
