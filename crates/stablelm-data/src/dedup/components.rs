//! Connected components of a graph that memory does not hold.
//!
//! Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii, "Connected Components in `MapReduce` and
//! Beyond" (2014): two rules that need sorted edges only are used in turn until every node hangs
//! on the least of its component. They never add edges, and few rounds are enough: their number
//! grows with the logarithm of the longest path.

use std::sync::Arc;

use super::error::DedupError;
use super::sort::{RunFolder, Sorted, Sorter, distinct};

/// From edges, each as its greater node and its lesser one, to each node that is not the least of
/// its component, with that least one, in order.
///
/// Needs twice `memory_limit`, what `edges` holds counted in.
pub(super) fn connect(
    edges: Sorter<2>,
    folder: &Arc<RunFolder>,
    memory_limit: u64,
) -> Result<impl Iterator<Item = Result<[u64; 2], DedupError>> + use<>, DedupError> {
    let mut edges = edges;
    let mut rounds = 0;
    loop {
        let (small, small_changed) = small_star(edges.finish()?, folder, memory_limit)?;
        let (large, large_changed) = large_star(small.finish()?, folder, memory_limit)?;
        edges = large;
        rounds += 1;
        if !small_changed && !large_changed {
            tracing::debug!(rounds, "components are connected");
            return Ok(distinct(edges.finish()?));
        }
    }
}

/// Hangs each node, and its neighbors that are less, on the least of these.
fn small_star(
    edges: Sorted<2>,
    folder: &Arc<RunFolder>,
    memory_limit: u64,
) -> Result<(Sorter<2>, bool), DedupError> {
    let mut stars = Sorter::new(folder, memory_limit);
    let mut changed = false;
    let mut current = None;
    for edge in distinct(edges) {
        let [node, neighbor] = edge?;
        match current {
            Some((of, least)) if of == node => {
                changed = true;
                stars.push([neighbor, least])?;
            }
            _ => {
                // Its neighbors come in order.
                current = Some((node, neighbor));
                stars.push([node, neighbor])?;
            }
        }
    }
    Ok((stars, changed))
}

/// Hangs the neighbors of each node that are greater on the least of all its neighbors and itself.
fn large_star(
    edges: Sorted<2>,
    folder: &Arc<RunFolder>,
    memory_limit: u64,
) -> Result<(Sorter<2>, bool), DedupError> {
    let mut both_ways = Sorter::new(folder, memory_limit);
    for edge in distinct(edges) {
        let [greater, lesser] = edge?;
        both_ways.push([greater, lesser])?;
        both_ways.push([lesser, greater])?;
    }
    let mut stars = Sorter::new(folder, memory_limit);
    let mut changed = false;
    let mut current = None;
    for edge in both_ways.finish()? {
        let [node, neighbor] = edge?;
        let least = match current {
            Some((of, least)) if of == node => least,
            _ => node.min(neighbor),
        };
        current = Some((node, least));
        if neighbor > node {
            changed |= least != node;
            stars.push([neighbor, least])?;
        }
    }
    Ok((stars, changed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn components(edges: &[[u64; 2]], limit: u64) -> Vec<[u64; 2]> {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(parent.path().join("runs"));
        let mut sorter = Sorter::new(&folder, limit);
        for &[a, b] in edges {
            sorter.push([a.max(b), a.min(b)]).unwrap();
        }
        let found = connect(sorter, &folder, limit).unwrap();
        found.map(Result::unwrap).collect()
    }

    /// Each node takes the least label of its neighbors until nothing changes.
    fn expected(edges: &[[u64; 2]], nodes: u64) -> Vec<[u64; 2]> {
        let mut labels: Vec<u64> = (0..nodes).collect();
        let index = |node: u64| usize::try_from(node).unwrap();
        loop {
            let before = labels.clone();
            for &[a, b] in edges {
                let least = labels[index(a)].min(labels[index(b)]);
                labels[index(a)] = least;
                labels[index(b)] = least;
            }
            if before == labels {
                let labels = (0..).zip(labels).map(|(node, label)| [node, label]);
                return labels.filter(|[node, label]| node != label).collect();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_node_gets_the_least_of_its_component(
            edges in prop::collection::vec(prop::array::uniform2(0_u64..120), 0..120),
            limit in 0_u64..2_000,
        ) {
            let edges: Vec<_> = edges.into_iter().filter(|[a, b]| a != b).collect();
            prop_assert_eq!(components(&edges, limit), expected(&edges, 120));
        }
    }

    #[test]
    fn long_chains_are_one_component_in_any_order_of_numbers() {
        let nodes = 2_000_u64;
        let straight: Vec<_> = (1..nodes).map(|node| [node, node - 1]).collect();
        let mixed = |node: u64| node * 1_237 % nodes;
        let mixed: Vec<_> = (1..nodes).map(|n| [mixed(n), mixed(n - 1)]).collect();
        for edges in [straight, mixed] {
            let found = components(&edges, 1 << 20);
            assert_eq!(found.len() as u64, nodes - 1);
            assert!(found.iter().all(|[_, least]| *least == 0));
        }
    }
}
