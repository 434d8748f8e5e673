//! When jobs run, in UTC.

use std::collections::HashMap;
use std::iter::successors;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use super::{JOBS, Job};

/// Pauses between occurrences that are looked at for the longest.
const PAUSES: usize = 10;

/// The occurrences of a job.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

impl Schedule {
    /// Reads an expression of six fields: seconds, minutes, hours, days, months, weekdays.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // As tokio-cron-scheduler reads it.
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
        let cron = parser.parse(text).map_err(|error| format!("{text:?} is no schedule: {error}"))?;
        Ok(Self { text: text.to_owned(), cron })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The latest occurrence up to a time.
    #[must_use]
    pub fn latest(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.find_previous_occurrence(&now.trunc_subsecs(0), true).ok()
    }

    /// The next occurrence after a time.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.find_next_occurrence(&now.trunc_subsecs(0), false).ok()
    }

    /// The longest pause between the next occurrences after a time; of one that rests at weekends that of the weekend.
    #[must_use]
    pub fn interval(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let occurrences: Vec<_> = successors(self.next(now), |at| self.next(*at)).take(PAUSES + 1).collect();
        occurrences.windows(2).map(|pair| pair[1] - pair[0]).max()
    }

    /// How many occurrences lie after `from`, up to and with `to`; at most `most`.
    #[must_use]
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>, most: usize) -> usize {
        let mut at = from;
        (0..most).take_while(|_| self.next(at).is_some_and(|next| (next <= to).then(|| at = next).is_some())).count()
    }
}

/// The schedules of all jobs: the table's, where the settings have no other.
#[derive(Debug, Clone)]
pub struct Schedules(Vec<(&'static Job, Schedule)>);

impl Schedules {
    /// Reads `jobs.schedules`: `name = expression`, separated by semicolons.
    ///
    /// # Errors
    /// Names the setting, and the job that does not exist or the expression that cannot be read.
    pub fn parse(settings: &str) -> Result<Self, String> {
        Self::read(settings).map_err(|error| format!("jobs.schedules: {error}"))
    }

    fn read(settings: &str) -> Result<Self, String> {
        let mut texts: HashMap<&'static str, &str> = HashMap::new();
        for setting in settings.split(';').map(str::trim).filter(|setting| !setting.is_empty()) {
            let (name, text) =
                setting.split_once('=').ok_or_else(|| format!("{setting:?} is not `name = schedule`"))?;
            texts.insert(Job::named(name.trim())?.name, text.trim());
        }
        let parsed = JOBS.iter().map(|job| Ok((job, Schedule::parse(texts.get(job.name).unwrap_or(&job.schedule))?)));
        parsed.collect::<Result<_, String>>().map(Self)
    }

    /// Each job with its schedule.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Job, &Schedule)> {
        self.0.iter().map(|(job, schedule)| (*job, schedule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_occurrence_is_found_from_within_its_second_and_across_month_ends() {
        let hourly = Schedule::parse("0 7 * * * *").unwrap();
        assert_eq!(hourly.latest(at("2028-03-01T00:06:59.999Z")), Some(at("2028-02-29T23:07:00Z")));
        assert_eq!(hourly.latest(at("2028-03-01T00:07:00.001Z")), Some(at("2028-03-01T00:07:00Z")));
        assert_eq!(hourly.next(at("2028-03-01T00:07:00.001Z")), Some(at("2028-03-01T01:07:00Z")));
        assert_eq!(hourly.between(at("2028-03-01T00:07:00Z"), at("2028-03-01T03:07:00Z"), 100), 3);
        assert_eq!(hourly.between(at("2028-03-01T00:07:00Z"), at("2028-03-02T00:07:00Z"), 5), 5);
    }

    #[test]
    fn the_interval_is_the_longest_pause_and_one_occurrence_has_none() {
        let interval = |text| Schedule::parse(text).unwrap().interval(at("2028-03-01T00:06:59Z"));
        assert_eq!(interval("*/15 * * * * *"), Some(TimeDelta::seconds(15)));
        assert_eq!(interval("0 7 * * * *"), Some(TimeDelta::hours(1)));
        assert_eq!(interval("0 0 9 * * MON-FRI"), Some(TimeDelta::days(3)));
        assert_eq!(interval("0 0 0 30 2 *"), None);
    }

    #[test]
    fn settings_replace_the_table_s_and_faults_are_named() {
        let schedules = Schedules::parse("ensure-partitions = 30 * * * * *; ").unwrap();
        let of = |name| schedules.iter().find(|(job, _)| job.name == name).unwrap().1.as_str();
        assert_eq!(of("ensure-partitions"), "30 * * * * *");
        assert_eq!(of("rescue-leases"), "*/5 * * * * *");
        assert_eq!(schedules.iter().count(), JOBS.len());
        assert!(Schedules::parse("rescue = * * * * * *").unwrap_err().contains("rescue-leases"));
        assert!(Schedules::parse("rescue-leases = often").unwrap_err().contains("often"));
        assert!(Schedules::parse("rescue-leases").unwrap_err().contains("name = schedule"));
    }
}
