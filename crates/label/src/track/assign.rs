//! Global assignment of sparse costs.
//!
//! The bipartite graph falls into small connected parts because of the gate; each is solved by itself (Jonker-Volgenant, crate `lsap`).

/// A possible pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) cost: f64,
}

/// Cost of a pair that is no edge: more than any sum of costs within a gate.
const NO_EDGE: f64 = 1e6;

/// The pairs of least total cost, as many as can be made, ordered by left index.
pub(super) fn assign(edges: &[Edge]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for part in parts(edges) {
        match part.as_slice() {
            [edge] => pairs.push((edge.left, edge.right)),
            part => solve(part, &mut pairs),
        }
    }
    pairs.sort_unstable();
    pairs
}

fn solve(part: &[Edge], pairs: &mut Vec<(usize, usize)>) {
    let distinct = |pick: fn(&Edge) -> usize| {
        let mut all: Vec<usize> = part.iter().map(pick).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (lefts, rights) = (distinct(|e| e.left), distinct(|e| e.right));
    let mut cost = vec![NO_EDGE; lefts.len() * rights.len()];
    for edge in part {
        if let (Ok(row), Ok(column)) = (lefts.binary_search(&edge.left), rights.binary_search(&edge.right)) {
            cost[row * rights.len() + column] = edge.cost.clamp(0.0, NO_EDGE / 10.0);
        }
    }
    // Costs are finite and the shape is right, so there is always a solution; without one the tracks coast.
    let Ok((rows, columns)) = lsap::solve(lefts.len(), rights.len(), &cost, false) else { return };
    for (row, column) in rows.into_iter().zip(columns) {
        if cost[row * rights.len() + column] < NO_EDGE {
            pairs.push((lefts[row], rights[column]));
        }
    }
}

/// The edges by connected part, in the order of each part's first edge.
fn parts(edges: &[Edge]) -> Vec<Vec<Edge>> {
    let lefts = edges.iter().map(|e| e.left + 1).max().unwrap_or(0);
    let rights = edges.iter().map(|e| e.right + 1).max().unwrap_or(0);
    let mut parent: Vec<usize> = (0..lefts + rights).collect();
    fn root(parent: &mut [usize], mut node: usize) -> usize {
        while parent[node] != node {
            parent[node] = parent[parent[node]];
            node = parent[node];
        }
        node
    }
    for edge in edges {
        let (a, b) = (root(&mut parent, edge.left), root(&mut parent, lefts + edge.right));
        parent[a.max(b)] = a.min(b);
    }
    let mut number = vec![usize::MAX; parent.len()];
    let mut parts: Vec<Vec<Edge>> = Vec::new();
    for edge in edges {
        let root = root(&mut parent, edge.left);
        if number[root] == usize::MAX {
            number[root] = parts.len();
            parts.push(Vec::new());
        }
        parts[number[root]].push(*edge);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_least_even_where_the_nearest_pair_is_given_up() {
        let edge = |left, right, cost| Edge { left, right, cost };
        let edges = [edge(0, 0, 1.0), edge(0, 1, 1.5), edge(1, 0, 1.2), edge(5, 7, 9.0)];
        assert_eq!(assign(&edges), vec![(0, 1), (1, 0), (5, 7)]);
    }

    #[test]
    fn more_tracks_than_detections_leave_the_dearest_alone() {
        let edges: Vec<Edge> = (0..3).map(|left| Edge { left, right: 0, cost: left as f64 + 1.0 }).collect();
        assert_eq!(assign(&edges), vec![(0, 0)]);
        assert!(assign(&[]).is_empty());
    }
}
