//! Monthly partitions of `dgm_performance_metrics`.

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};

use super::pool::Store;

/// Makes the partitions of the month of `now` and of the `ahead` months after it; answers how many were new.
///
/// # Errors
/// The server's; the months made before the failing one stay.
pub async fn ensure(store: &Store, now: DateTime<Utc>, ahead: u32) -> Result<usize, sqlx::Error> {
    let mut made = 0;
    for month in (0..=ahead).filter_map(|offset| month_after(now, offset)) {
        let new: bool = sqlx::query_scalar("SELECT create_monthly_partition('dgm_performance_metrics', $1)")
            .bind(month)
            .fetch_one(store.pool())
            .await?;
        made += usize::from(new);
    }
    Ok(made)
}

fn month_after(now: DateTime<Utc>, offset: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(now.year(), now.month(), 1)?.checked_add_months(Months::new(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_roll_over_the_year_from_a_long_month_s_last_day() {
        let now = "2027-12-31T23:59:59Z".parse().unwrap();
        let months: Vec<_> = (0..3).map(|offset| month_after(now, offset).unwrap().to_string()).collect();
        assert_eq!(months, ["2027-12-01", "2028-01-01", "2028-02-01"]);
    }
}
