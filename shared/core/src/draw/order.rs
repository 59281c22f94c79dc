//! The order of points within their layers, so that few edges cross: barycentres, best of some sweeps.

/// Sweeps down and up; more rarely help.
const SWEEPS: usize = 8;

/// Points in layers; edges go from each layer to the next.
pub(super) struct Layers {
    /// Points of each layer in drawing order.
    pub(super) order: Vec<Vec<usize>>,
    /// Points above that each point is connected to.
    pub(super) above: Vec<Vec<usize>>,
    /// Points below that each point is connected to.
    pub(super) below: Vec<Vec<usize>>,
}

impl Layers {
    /// Reorders every layer. Ties keep the order given, which is that of the flow.
    pub(super) fn arrange(&mut self) {
        let mut best = self.order.clone();
        let mut fewest = self.crossings();
        for sweep in 0..SWEEPS {
            if fewest == 0 {
                break;
            }
            let down = sweep % 2 == 0;
            let layers: Vec<usize> = if down {
                (1..self.order.len()).collect()
            } else {
                (0..self.order.len().saturating_sub(1)).rev().collect()
            };
            for layer in layers {
                self.sort_layer(layer, down);
            }
            let crossings = self.crossings();
            if crossings < fewest {
                fewest = crossings;
                best.clone_from(&self.order);
            }
        }
        self.order = best;
    }

    fn positions(&self, layer: usize) -> Vec<(usize, usize)> {
        let mut at: Vec<(usize, usize)> = self.order[layer]
            .iter()
            .enumerate()
            .map(|(at, point)| (*point, at))
            .collect();
        at.sort_unstable();
        at
    }

    fn sort_layer(&mut self, layer: usize, down: bool) {
        let (fixed, neighbours) = if down {
            (layer - 1, &self.above)
        } else {
            (layer + 1, &self.below)
        };
        let positions = self.positions(fixed);
        let position = |point: usize| lookup(&positions, point);
        let mut keyed: Vec<(f64, usize)> = self.order[layer]
            .iter()
            .enumerate()
            .map(|(at, point)| {
                let near = &neighbours[*point];
                let sum: f64 = near.iter().map(|n| as_f64(position(*n))).sum();
                let centre = if near.is_empty() {
                    // Without neighbours it stays where it is, relative to the width of the layer.
                    as_f64(at) * as_f64(positions.len()) / as_f64(self.order[layer].len().max(1))
                } else {
                    sum / as_f64(near.len())
                };
                (centre, *point)
            })
            .collect();
        keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.order[layer] = keyed.into_iter().map(|(_, point)| point).collect();
    }

    fn crossings(&self) -> usize {
        (1..self.order.len())
            .map(|layer| self.crossings_above(layer))
            .sum()
    }

    /// Edges between two layers, sorted by one end, cross as often as their other ends are out of order.
    fn crossings_above(&self, layer: usize) -> usize {
        let positions = self.positions(layer - 1);
        let mut ends = Vec::new();
        for point in &self.order[layer] {
            let mut upper: Vec<usize> = self.above[*point]
                .iter()
                .map(|n| lookup(&positions, *n))
                .collect();
            upper.sort_unstable();
            ends.push(upper);
        }
        // A Fenwick tree counts the upper ends seen so far.
        let size = positions.len();
        let mut tree = vec![0_usize; size + 1];
        let (mut seen, mut crossings) = (0, 0);
        for upper in ends {
            for &end in &upper {
                let (mut at, mut not_right) = (end + 1, 0);
                while at > 0 {
                    not_right += tree[at];
                    at &= at - 1;
                }
                crossings += seen - not_right;
            }
            for &end in &upper {
                seen += 1;
                let mut at = end + 1;
                while at <= size {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
        crossings
    }
}

fn lookup(positions: &[(usize, usize)], point: usize) -> usize {
    positions
        .binary_search_by_key(&point, |(point, _)| *point)
        .ok()
        .and_then(|at| positions.get(at))
        .map_or(0, |(_, position)| *position)
}

/// Counts of drawn things are far below 2^52.
#[allow(clippy::cast_precision_loss)]
pub(super) fn as_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::Layers;

    #[test]
    fn crossings_are_counted_and_removed() {
        // Two layers of three; the edges are the reversal, then some.
        let mut layers = Layers {
            order: vec![vec![0, 1, 2], vec![3, 4, 5]],
            above: vec![vec![], vec![], vec![], vec![2], vec![1], vec![0]],
            below: vec![vec![5], vec![4], vec![3], vec![], vec![], vec![]],
        };
        assert_eq!(layers.crossings(), 3);
        layers.arrange();
        assert_eq!(layers.crossings(), 0);
        let shared = Layers {
            order: vec![vec![0, 1], vec![2, 3]],
            above: vec![vec![], vec![], vec![0, 1], vec![0, 1]],
            below: vec![vec![2, 3], vec![2, 3], vec![], vec![]],
        };
        assert_eq!(
            shared.crossings(),
            1,
            "edges that share an end do not cross"
        );
    }
}
