//! Who calls.

use super::labels::AuthFailure;

super::metrics! {
    /// Requests refused for who made them, by reason.
    Counter AUTH_FAILURES<(AuthFailure,)> = "dgm_auth_failures_total", "requests";
}
