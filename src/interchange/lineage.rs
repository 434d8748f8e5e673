//! The shape of a lineage: cycles, which cannot be but are found in damaged runs, and depths. Without recursion, as
//! lineages are long.

/// Every cycle along the parents, each once, as the indices of its members.
pub(super) fn cycles(parents: &[Option<usize>]) -> Vec<Vec<usize>> {
    // The walk in which a program was first met, counted from 1.
    let mut met = vec![0_usize; parents.len()];
    let mut cycles = Vec::new();
    for start in 0..parents.len() {
        let walk = start + 1;
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| met[*at] == 0) {
            met[at] = walk;
            next = parents[at];
        }
        // Back at a program of the same walk: it is on a cycle.
        if let Some(entry) = next.filter(|at| met[*at] == walk) {
            let around = std::iter::successors(parents[entry], |at| parents[*at].filter(|_| *at != entry));
            cycles.push(around.collect());
        }
    }
    cycles
}

/// How many ancestors each program has. The parents must be free of cycles.
pub(super) fn depths(parents: &[Option<usize>]) -> Vec<u32> {
    let mut depths: Vec<Option<u32>> = vec![None; parents.len()];
    let mut path = Vec::new();
    for start in 0..parents.len() {
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| depths[*at].is_none()) {
            path.push(at);
            next = parents[at];
        }
        let mut depth = next.and_then(|at| depths[at]).map_or(0, |above| above + 1);
        while let Some(at) = path.pop() {
            depths[at] = Some(depth);
            depth += 1;
        }
    }
    depths.into_iter().flatten().collect()
}
