//! Routes and methods: labels whose values are those of the table of routes, which is above this layer and hands it in by
//! [`define`] before anything is counted.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::labels::StatusClass;
use super::metric::Label;

/// The label of what matches no route.
const UNMATCHED: &str = "unmatched";
/// The label of a method that no route has.
const OTHER: &str = "other";

#[derive(Debug)]
struct Served {
    pairs: Vec<(&'static str, &'static str)>,
    /// [`UNMATCHED`], then each template once.
    routes: Vec<&'static str>,
    places: HashMap<&'static str, usize>,
    /// [`OTHER`], then each method once.
    methods: Vec<&'static str>,
}

static SERVED: OnceLock<Served> = OnceLock::new();

/// States what the router serves, as method and template; the first call counts. HEAD is served wherever GET is.
pub fn define(pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    SERVED.get_or_init(|| {
        let pairs: Vec<_> = pairs.collect();
        let (mut routes, mut methods) = (vec![UNMATCHED], vec![OTHER]);
        for (method, route) in &pairs {
            if !routes.contains(route) {
                routes.push(route);
            }
            let implied = (*method == "GET").then_some("HEAD");
            for method in [*method].into_iter().chain(implied) {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        }
        let places = routes.iter().enumerate().map(|(place, route)| (*route, place)).collect();
        Served { pairs, routes, places, methods }
    });
}

fn routes() -> &'static [&'static str] {
    SERVED.get().map_or(&[UNMATCHED], |served| &served.routes)
}

fn methods() -> &'static [&'static str] {
    SERVED.get().map_or(&[OTHER], |served| &served.methods)
}

/// Whether labels can occur together: a route only with the methods that it serves.
pub(super) fn can_occur(labels: &[(&'static str, &'static str)]) -> bool {
    let value = |name| labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value);
    let (Some(route), Some(method)) = (value(Route::NAME), value(Method::NAME)) else { return true };
    let served = SERVED.get().is_some_and(|served| served.pairs.contains(&(method, route)));
    served && value(StatusClass::NAME) != Some(StatusClass::Informational.as_str())
}

/// A route template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(usize);

impl Route {
    /// What matches no route.
    pub const UNMATCHED: Self = Self(0);

    /// The route of a template.
    #[must_use]
    pub fn of(template: &str) -> Self {
        let place = SERVED.get().and_then(|served| served.places.get(template));
        place.map_or(Self::UNMATCHED, |place| Self(*place))
    }

    /// The template.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        routes().get(self.0).copied().unwrap_or(UNMATCHED)
    }
}

impl Label for Route {
    const NAME: &'static str = "route";
    fn values() -> Vec<&'static str> {
        routes().to_vec()
    }
    fn count() -> usize {
        routes().len()
    }
    fn index(self) -> usize {
        self.0
    }
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(usize);

impl Method {
    /// A method that no route has.
    pub const OTHER: Self = Self(0);

    /// The label of a method.
    #[must_use]
    pub fn of(method: &str) -> Self {
        // There are too few for a map to be faster.
        methods().iter().position(|known| *known == method).map_or(Self::OTHER, Self)
    }

    /// The method.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        methods().get(self.0).copied().unwrap_or(OTHER)
    }
}

impl Label for Method {
    const NAME: &'static str = "method";
    fn values() -> Vec<&'static str> {
        methods().to_vec()
    }
    fn count() -> usize {
        methods().len()
    }
    fn index(self) -> usize {
        self.0
    }
}
