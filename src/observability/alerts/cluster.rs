//! What Kubernetes and cert-manager tell of the service's volumes and certificates. Where neither is there, these have no series.

use super::super::rule::Severity::{Critical, Warning};
use super::super::rule::{Alert, Severity, Team};

const RUNTIME: &str = "dgm-runtime";

pub(super) fn alerts() -> Vec<Alert> {
    vec![claim(Warning, "0.8"), claim(Critical, "0.9"), certificate(Warning, "21"), certificate(Critical, "7")]
}

fn claim(severity: Severity, share: &str) -> Alert {
    let series = |what: &str| {
        format!(
            "kubelet_volume_stats_{what}_bytes{{job=\"kubelet\", namespace=\"dgm\", persistentvolumeclaim=\"dgm-postgres-1\"}}"
        )
    };
    let ours = "{persistentvolumeclaim=~\"dgm-.+\"}";
    Alert::new("DgmClaimFull", severity, Team::Platform, RUNTIME)
        .when(
            "10m",
            format!(
                "1 - kubelet_volume_stats_available_bytes{ours} / kubelet_volume_stats_capacity_bytes{ours} > {share}"
            ),
        )
        .says(
            "The claim {{ $labels.persistentvolumeclaim }} is nearly full.",
            "{{ $value | humanizePercentage }} of it is in use.",
        )
        .fires("15m", &[(series("capacity"), "100x20"), (series("available"), "5x20")])
        .silent("15m", &[(series("capacity"), "100x20"), (series("available"), "25x20")])
}

/// Renewal begins 30 days before the end, and is tried all the time.
fn certificate(severity: Severity, days: &str) -> Alert {
    let series = "certmanager_certificate_expiration_timestamp_seconds{job=\"cert-manager\", name=\"dgm-service\"}";
    Alert::new("DgmCertificateExpiring", severity, Team::Platform, RUNTIME)
        .when(
            "1h",
            format!(
                "certmanager_certificate_expiration_timestamp_seconds{{name=~\"dgm-.+\"}} - time() < {days} * 86400"
            ),
        )
        .says(
            "The certificate {{ $labels.name }} is not renewed.",
            "It ends in {{ $value | humanizeDuration }}; callers from outside are refused by their own clients then.",
        )
        .fires("2h", &[(series, "172800x130")])
        .silent("2h", &[(series, "2592000x130")])
}
