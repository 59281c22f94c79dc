//! Signatures of tokens, checked by the library that encrypts connections, too.
//!
//! Invariant: only the algorithms of RSA and of elliptic curves with a key of that kind; nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes it what checks tokens of this process.
pub(super) fn install() {
    // Whoever was first has set the same.
    let _ = PROVIDER.install_default();
}

enum Kind {
    Rsa(&'static RsaParameters),
    Curve(&'static EcdsaVerificationAlgorithm),
}

struct Checker {
    algorithm: Algorithm,
    kind: Kind,
    key: DecodingKey,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::wildcard_enum_match_arm,
    reason = "a signature and an enum of another crate; what is not listed is refused"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let kind = match algorithm {
        Algorithm::RS256 => Kind::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Kind::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::ES256 => Kind::Curve(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Kind::Curve(&ECDSA_P384_SHA384_FIXED),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(Checker {
        algorithm: *algorithm,
        kind,
        key: key.clone(),
    }))
}

impl Verifier<Vec<u8>> for Checker {
    fn verify(&self, message: &[u8], sign: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let checked = match (&self.kind, self.key.kind()) {
            (Kind::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, sign)
            }
            (Kind::Curve(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, sign)
            }
            (Kind::Rsa(_) | Kind::Curve(_), _) => return Err(signature::Error::new()),
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Checker {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jsonwebtoken::crypto::verify;

    use super::*;

    // A key that was thrown away, and `header.claims` signed with it by OpenSSL.
    const MODULUS: &str = "tuaJNizbXh6egPjhMzDRqj8h1XSq50ecjQEiTUKDUqPF_if3FLd7Lx_NFG4CdtXP2iTv52TunEDl5sp2ZS44ZyIcw-TRTsYj\
        oxdSiDYWURp8PWSLupSAWiJ0rpOCk4kS4vKlc1m1VtsoGNb1Xipnte-TPQBOeLQe3TvoBD8ABtiPwSSfqatAGrWsTd3PlRAM\
        57QbySyopA4z1MX5_sQFnDImIAxqJt32w9QCkaFVQ18wiwtslshzsFWiBhmtVye--lKmuz5hsjAi9FuLX1eTpD369rqSegt4\
        bGeHgJO0FP1KqX___IivocmJMvh6QLU6c2ogIpcZAQAFOM-7PUIetw";
    const RS256: &str = "rZmJWMzIZt-aJcrVacZH9kYECbBDpuwo0wgtKLz8XzOkSnxSnm2kAMYmy1eZo9O-vDVcCr-YBLw6aTByT0Nd-IP51F5C8Cu0\
        pTCaTsmG9DQMKR-FVKN0baGntIS-6zjbkzcB_1OIKIZsPuqHmNeALKMGiIf81ynB6kP-lN2p-EMOXsyJ-v8uFF9PnNNhm-0A\
        qA1hVqnt9285FoBZUFr3MGZdKraiUpYpSlMUum13w6JovzMTayyNnqFHZ0gVmcKqdAYAkOrcGcDLwcg7XHb0QcGI6sTQJjlk\
        Fz9_EwEAVIGQPS7fwq8zmhOd9MkB3YPwVNqr21i7ZMtxbVa0qGRXuw";
    const RS384: &str = "iRB-omybm4Y77ZsnKxmREppHfT9Dl7cbux5h2jatxK63z6R6izhIjMEH0sU9JLhtodoLu6hlOsCJmoOXxqnkPgq8jn--VLR-\
        Yy7BOECP4URQKGcTAglRg74ttCGRYsP2F6HKrP5Sn5jH-trzRqRWPoi9KY05ei0Y78fYj8bPKPK8FsHiI_eTsC9c-s_MOyaC\
        CGvTjOIEMMyaye3GctlC0ZTLUViEnkl7ywrQ46bDvIktrhMJtyL5l4lVmd4WYx8Ou_P5e2b-BmIxKJeeQ9fomYYRgv-qmNEg\
        B54DolDK4rs_kGuNKSpgQP5e8Lrj2538y6dfTL-9TnobHut-yqKOTg";

    #[test]
    fn what_another_library_signed_is_believed_and_nothing_else() {
        install();
        let key = DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap();
        let believed = |signature: &str, message: &[u8], algorithm: Algorithm| {
            verify(signature, message, &key, algorithm).is_ok_and(|good| good)
        };
        assert!(believed(RS256, b"header.claims", Algorithm::RS256));
        assert!(believed(RS384, b"header.claims", Algorithm::RS384));
        assert!(!believed(RS256, b"header.claimz", Algorithm::RS256));
        assert!(!believed(RS384, b"header.claims", Algorithm::RS256));
        assert!(!believed(&RS256[1..], b"header.claims", Algorithm::RS256));
        // A key of one kind with an algorithm of the other, and one that is not among ours.
        assert!(!believed(RS256, b"header.claims", Algorithm::ES256));
        assert!(!believed(RS256, b"header.claims", Algorithm::PS256));
        assert!(!believed(RS256, b"header.claims", Algorithm::HS256));
        let zero = "A".repeat(43);
        let point = DecodingKey::from_ec_components(&zero, &zero).unwrap();
        assert!(!verify(RS256, b"header.claims", &point, Algorithm::RS256).is_ok_and(|good| good));
    }
}
