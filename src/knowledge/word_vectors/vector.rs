//! Vector of a word or of a group of words. Only its direction counts.

/// Number of components of a vector.
pub const DIMENSIONS: usize = 128;

/// Vector with components of one byte, so that those of a large vocabulary fit into the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct WordVector {
    components: [i8; DIMENSIONS],
    /// 1 / length; 0 for a vector without a direction.
    inverse_length: f32,
}

impl Default for WordVector {
    /// Returns a vector without a direction: its cosine with any vector is 0.
    fn default() -> Self {
        Self { components: [0; DIMENSIONS], inverse_length: 0.0 }
    }
}

impl WordVector {
    fn new(components: [i8; DIMENSIONS]) -> Self {
        let square = dot(&components, &components) as f32;
        Self { components, inverse_length: if square > 0.0 { square.sqrt().recip() } else { 0.0 } }
    }

    /// Unpacks a vector with two components per byte.
    pub(super) fn from_nibbles(packed: &[u8; DIMENSIONS / 2]) -> Self {
        let mut components = [0; DIMENSIONS];
        for (pair, byte) in components.as_chunks_mut::<2>().0.iter_mut().zip(packed) {
            *pair = [byte & 0xf, byte >> 4].map(|nibble| nibble as i8 - 8);
        }
        Self::new(components)
    }

    /// Returns the direction of the weighted sum of the directions of `vectors`.
    pub fn mean<'a>(vectors: impl IntoIterator<Item = (&'a Self, f32)>) -> Self {
        let mut sum = [0.0_f32; DIMENSIONS];
        for (vector, weight) in vectors {
            let scale = weight * vector.inverse_length;
            for (sum, component) in sum.iter_mut().zip(&vector.components) {
                *sum += scale * f32::from(*component);
            }
        }
        let largest = sum.iter().fold(0.0_f32, |largest, component| largest.max(component.abs()));
        if largest == 0.0 {
            return Self::default();
        }
        let scale = f32::from(i8::MAX) / largest;
        Self::new(sum.map(|component| (component * scale).round() as i8))
    }

    /// Returns the cosine of the angle between two vectors: 1 for the same direction, 0 for unrelated ones.
    pub fn cosine(&self, other: &Self) -> f32 {
        dot(&self.components, &other.components) as f32 * (self.inverse_length * other.inverse_length)
    }
}

fn dot(a: &[i8; DIMENSIONS], b: &[i8; DIMENSIONS]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn along(axis: usize) -> WordVector {
        let mut components = [0; DIMENSIONS];
        components[axis] = 7;
        WordVector::new(components)
    }

    #[test]
    fn nibbles_become_components() {
        let mut packed = [0x88; DIMENSIONS / 2];
        packed[0] = 0xf1;
        let vector = WordVector::from_nibbles(&packed);
        assert_eq!(vector.components[..4], [-7, 7, 0, 0]);
        assert!((vector.cosine(&vector) - 1.0).abs() < 1e-6);
        assert!((vector.cosine(&along(1)) - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn a_mean_lies_between_its_vectors_according_to_their_weights() {
        let mean = WordVector::mean([(&along(0), 1.0), (&along(1), 3.0)]);
        assert!((mean.cosine(&along(1)) - 3.0 / 10.0_f32.sqrt()).abs() < 0.01);
        assert!(mean.cosine(&along(2)).abs() < 1e-6);
        assert_eq!(WordVector::mean([]), WordVector::default());
    }

    #[test]
    fn extreme_components_do_not_overflow() {
        let vector = WordVector::new([i8::MIN; DIMENSIONS]);
        assert!((vector.cosine(&WordVector::new([i8::MAX; DIMENSIONS])) + 1.0).abs() < 1e-6);
    }
}
