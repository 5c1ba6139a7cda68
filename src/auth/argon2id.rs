//! argon2id with reused memory. A hash needs 19 MiB; not allocating and zeroing them each time saves 2 to 4 per cent.
//!
//! The parameters of new hashes are here. PHC strings and the comparison in constant time come from the library.

use argon2::{
    Algorithm, Argon2, Block, CustomizedPasswordHasher, Params, PasswordHasher, Version,
    password_hash::{
        Error, Result,
        phc::{Output, PasswordHash, Salt},
    },
};
use std::cell::RefCell;

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Computes hashes, one at a time. Holds its memory from the first one on.
#[derive(Default)]
pub(super) struct Argon2id {
    /// Not cleared between hashes: argon2 writes each block before it reads it.
    memory: RefCell<Vec<Block>>,
}

impl PasswordHasher<PasswordHash> for Argon2id {
    fn hash_password_with_salt(&self, password: &[u8], salt: &[u8]) -> Result<PasswordHash> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
        self.hash_password_customized(password, salt, None, None, params)
    }
}

/// The library also verifies passwords through this trait.
impl CustomizedPasswordHasher<PasswordHash> for Argon2id {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> Result<PasswordHash> {
        let algorithm = algorithm.map(Algorithm::try_from).transpose()?.unwrap_or(Algorithm::Argon2id);
        let version = version.map(Version::try_from).transpose()?.unwrap_or(Version::V0x13);
        let phc_params = (&params).try_into()?;
        let mut output = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
        let mut memory = self.memory.borrow_mut();
        let missing = params.block_count().saturating_sub(memory.len());
        memory.try_reserve_exact(missing).map_err(|_| Error::OutOfMemory)?;
        let blocks = memory.len() + missing;
        memory.resize(blocks, Block::new());
        Argon2::new(algorithm, version, params).hash_password_into_with_memory(
            password,
            salt,
            &mut output,
            memory.as_mut_slice(),
        )?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: phc_params,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(&output)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    const PASSWORD: &[u8] = b"quiet-otter-paints-thursday";

    /// The library's own implementation, which allocates for each hash.
    fn library(params: Params) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    #[test]
    fn reused_memory_does_not_change_a_hash() {
        let (hasher, salt) = (Argon2id::default(), [7; 16]);
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap();
        for password in [PASSWORD, b"another one", PASSWORD] {
            let ours = hasher.hash_password_with_salt(password, &salt).unwrap();
            assert_eq!(ours, library(params.clone()).hash_password_with_salt(password, &salt).unwrap());
        }
        assert_eq!(hasher.memory.borrow().len(), params.block_count());
    }

    #[test]
    fn hashes_with_other_parameters_are_verified_with_them() {
        let hasher = Argon2id::default();
        for (memory_kib, output_bytes) in [(64, 16), (1_024, 64), (128, 32)] {
            let params = Params::new(memory_kib, 1, 2, Some(output_bytes)).unwrap();
            let hash: PasswordHash = library(params).hash_password(PASSWORD).unwrap();
            assert_eq!(hasher.verify_password(PASSWORD, &hash), Ok(()));
            assert_eq!(hasher.verify_password(b"another one", &hash), Err(Error::PasswordInvalid));
        }
    }
}
