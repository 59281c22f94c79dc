//! Places boxes of given sizes in layers, top to bottom, by the edges between them.
//!
//! A box is one layer below the lowest box it waits for (longest path). Edges over several layers pass
//! through points of their own, so that they go around boxes and not through them.

use super::order::{Layers, as_f64};

/// Between boxes of a layer.
const GAP_X: f64 = 28.0;
/// Between the ways of edges, and between them and boxes.
const LANE_GAP: f64 = 8.0;
/// Between layers.
const GAP_Y: f64 = 36.0;
/// Width of the way an edge takes between boxes.
const LANE: f64 = 8.0;
/// Passes that pull boxes towards their neighbours, down and up.
const PULLS: usize = 12;
/// Points for edges at most; beyond that, long edges are drawn straight.
const LANES_MAX: usize = 20_000;
/// Boxes without edges that stand in one row at most; more are set in a grid.
const ROW_MAX: usize = 6;

/// Width and height.
pub(super) type Size = (f64, f64);
/// From the left and from the top.
pub(super) type Point = (f64, f64);

/// Where everything goes.
pub(super) struct Placed {
    /// Top left corners, in the order of the boxes.
    pub(super) corners: Vec<Point>,
    /// Per edge: its points from the bottom of a box to the top of another.
    pub(super) routes: Vec<Vec<Point>>,
    pub(super) size: Size,
}

/// Places boxes. `edges` are pairs of indices of `sizes` without cycles.
pub(super) fn place(sizes: &[Size], edges: &[(usize, usize)]) -> Placed {
    if edges.is_empty() && sizes.len() > 1 {
        return grid(sizes);
    }
    let ranks = ranks(sizes.len(), edges);
    let mut field = Field::new(sizes, edges, &ranks);
    field.layers.arrange();
    field.spread();
    field.placed(sizes, edges)
}

/// Boxes that wait for nothing: one row, or rows of about the same number as columns.
fn grid(sizes: &[Size]) -> Placed {
    let mut columns = ROW_MAX;
    while columns * columns / 2 < sizes.len() {
        columns += 1;
    }
    let width = sizes.iter().fold(0.0, |max: f64, size| max.max(size.0));
    let mut corners = Vec::with_capacity(sizes.len());
    let (mut top, mut right) = (0.0, 0.0_f64);
    for row in sizes.chunks(columns) {
        let mut left = 0.0;
        for size in row {
            // In several rows, columns are aligned.
            let cell = if sizes.len() > columns { width } else { size.0 };
            corners.push((left + (cell - size.0) / 2.0, top));
            left += cell + GAP_X;
        }
        right = right.max(left - GAP_X);
        top += row.iter().fold(0.0, |max: f64, size| max.max(size.1)) + GAP_X;
    }
    Placed {
        corners,
        routes: Vec::new(),
        size: (right, (top - GAP_X).max(0.0)),
    }
}

/// Longest paths from the top.
fn ranks(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut waiting = vec![0_usize; count];
    let mut below = vec![Vec::new(); count];
    for (from, to) in edges {
        waiting[*to] += 1;
        below[*from].push(*to);
    }
    let mut ready: Vec<usize> = (0..count).filter(|at| waiting[*at] == 0).collect();
    let mut ranks = vec![0; count];
    while let Some(at) = ready.pop() {
        for &to in &below[at] {
            ranks[to] = ranks[to].max(ranks[at] + 1);
            waiting[to] -= 1;
            if waiting[to] == 0 {
                ready.push(to);
            }
        }
    }
    ranks
}

/// Boxes and the points of long edges, in layers.
struct Field {
    layers: Layers,
    widths: Vec<f64>,
    centres: Vec<f64>,
    /// Top and height of each layer.
    bands: Vec<(f64, f64)>,
    ranks: Vec<usize>,
    /// Per edge: its points between the boxes.
    lanes: Vec<Vec<usize>>,
}

impl Field {
    fn new(sizes: &[Size], edges: &[(usize, usize)], ranks: &[usize]) -> Self {
        let depth = ranks.iter().max().map_or(0, |rank| rank + 1);
        let mut field = Self {
            layers: Layers {
                order: vec![Vec::new(); depth],
                above: vec![Vec::new(); sizes.len()],
                below: vec![Vec::new(); sizes.len()],
            },
            widths: sizes.iter().map(|size| size.0).collect(),
            centres: Vec::new(),
            bands: Vec::new(),
            ranks: ranks.to_vec(),
            lanes: vec![Vec::new(); edges.len()],
        };
        for (at, rank) in ranks.iter().enumerate() {
            field.layers.order[*rank].push(at);
        }
        for (edge, (from, to)) in edges.iter().enumerate() {
            field.route(edge, *from, *to);
        }
        let mut top = 0.0;
        for layer in &field.layers.order {
            let heights = layer
                .iter()
                .filter_map(|at| sizes.get(*at))
                .map(|size| size.1);
            let height = heights.fold(0.0, f64::max);
            field.bands.push((top, height));
            top += height + GAP_Y;
        }
        field
    }

    /// Gives an edge a point in every layer between its ends.
    fn route(&mut self, edge: usize, from: usize, to: usize) {
        let between = self.ranks[from] + 1..self.ranks[to];
        if self.widths.len() + between.len() > self.ranks.len().max(LANES_MAX) + LANES_MAX {
            return;
        }
        let mut last = from;
        for rank in between {
            let point = self.widths.len();
            self.widths.push(LANE);
            self.layers.above.push(Vec::new());
            self.layers.below.push(Vec::new());
            self.layers.order[rank].push(point);
            self.lanes[edge].push(point);
            self.join(last, point);
            last = point;
        }
        self.join(last, to);
    }

    fn join(&mut self, upper: usize, lower: usize) {
        self.layers.below[upper].push(lower);
        self.layers.above[lower].push(upper);
    }

    /// Finds the horizontal centres: packed at first, then pulled towards neighbours.
    fn spread(&mut self) {
        self.centres = vec![0.0; self.widths.len()];
        for layer in &self.layers.order {
            let mut left = 0.0;
            for &point in layer {
                self.centres[point] = left + self.widths[point] / 2.0;
                left += self.widths[point] + GAP_X;
            }
        }
        let depth = self.layers.order.len();
        for pull in 0..PULLS {
            for step in 0..depth {
                let down = pull % 2 == 0;
                let layer = if down { step } else { depth - 1 - step };
                self.pull(layer, down);
            }
        }
    }

    fn pull(&mut self, layer: usize, down: bool) {
        let order = &self.layers.order[layer];
        let neighbours = if down {
            &self.layers.above
        } else {
            &self.layers.below
        };
        let wanted = order.iter().map(|&point| {
            let near = &neighbours[point];
            if near.is_empty() {
                return self.centres[point];
            }
            near.iter().map(|n| self.centres[*n]).sum::<f64>() / as_f64(near.len())
        });
        let wanted: Vec<f64> = wanted.collect();
        let placed = apart(
            &wanted,
            &order.iter().map(|p| self.widths[*p]).collect::<Vec<_>>(),
        );
        for (&point, centre) in order.iter().zip(placed) {
            self.centres[point] = centre;
        }
    }

    fn placed(&self, sizes: &[Size], edges: &[(usize, usize)]) -> Placed {
        let extent = |side: f64, pick: fn(f64, f64) -> f64| {
            let ends = self
                .centres
                .iter()
                .zip(&self.widths)
                .map(|(c, w)| c + side * w / 2.0);
            ends.fold(-side * f64::INFINITY, pick)
        };
        let left = extent(-1.0, f64::min);
        let right = extent(1.0, f64::max);
        let corner = |at: usize| {
            (
                self.centres[at] - sizes[at].0 / 2.0 - left,
                self.bands[self.ranks[at]].0,
            )
        };
        let corners: Vec<Point> = (0..sizes.len()).map(corner).collect();
        let routes = edges.iter().enumerate().map(|(edge, &(from, to))| {
            let (upper, lower) = (corners[from], corners[to]);
            let x = |point: usize| self.centres[point] - left;
            let (from_top, from_height) = self.bands[self.ranks[from]];
            let mut route = vec![
                (x(from), upper.1 + sizes[from].1),
                (x(from), from_top + from_height),
            ];
            for (rank, &lane) in (self.ranks[from] + 1..).zip(&self.lanes[edge]) {
                let (top, height) = self.bands[rank];
                route.extend([(x(lane), top), (x(lane), top + height)]);
            }
            route.extend([(x(to), self.bands[self.ranks[to]].0), (x(to), lower.1)]);
            route
        });
        let routes = routes.collect();
        let height = self.bands.last().map_or(0.0, |(top, height)| top + height);
        Placed {
            corners,
            routes,
            size: ((right - left).max(0.0), height),
        }
    }
}

/// Room between two neighbours of these widths.
fn gap(left: f64, right: f64) -> f64 {
    if left.min(right) <= LANE {
        LANE_GAP
    } else {
        GAP_X
    }
}

/// Centres as near to the wanted ones as can be (least squares) without overlap, in the same order.
///
/// Subtracting from each wanted centre the room that those before it take leaves the task of finding the
/// nearest non-decreasing sequence, which pooling adjacent violators solves.
fn apart(wanted: &[f64], widths: &[f64]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(wanted.len());
    let mut offset = 0.0;
    for (at, width) in widths.iter().enumerate() {
        if at > 0 {
            offset += f64::midpoint(widths[at - 1], *width) + gap(widths[at - 1], *width);
        }
        offsets.push(offset);
    }
    // Sum and number of the pooled values.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (want, offset) in wanted.iter().zip(&offsets) {
        let mut pool = (want - offset, 1);
        while let Some(&(sum, count)) = pools.last() {
            if sum / as_f64(count) <= pool.0 / as_f64(pool.1) {
                break;
            }
            pool = (pool.0 + sum, pool.1 + count);
            pools.pop();
        }
        pools.push(pool);
    }
    let means = pools
        .into_iter()
        .flat_map(|(sum, count)| std::iter::repeat_n(sum / as_f64(count), count));
    means
        .zip(offsets)
        .map(|(mean, offset)| mean + offset)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{GAP_X, apart, place};

    #[test]
    fn boxes_stay_apart_and_near_to_where_they_want_to_be() {
        let centres = apart(&[10.0, 10.0, 500.0], &[100.0, 100.0, 50.0]);
        assert_eq!(centres, [10.0 - 64.0, 10.0 + 64.0, 500.0]);
        assert!((centres[1] - centres[0] - 100.0 - GAP_X).abs() < 1e-9);
    }

    #[test]
    fn no_two_boxes_overlap() {
        // A graph with long edges, boxes of different sizes.
        let sizes: Vec<_> = (0..60_u32)
            .map(|n| {
                (
                    40.0 + f64::from(n * 37 % 90),
                    20.0 + f64::from(n % 5) * 10.0,
                )
            })
            .collect();
        let edges: Vec<_> = (1..60)
            .flat_map(|n| [(n * 7 % n, n), (n / 3, n)])
            .filter(|(a, b)| a < b)
            .collect();
        let placed = place(&sizes, &edges);
        for (a, (corner, size)) in placed.corners.iter().zip(&sizes).enumerate() {
            assert!(corner.0 >= 0.0 && corner.0 + size.0 <= placed.size.0 + 0.01);
            assert!(corner.1 >= 0.0 && corner.1 + size.1 <= placed.size.1 + 0.01);
            for (other, other_size) in placed.corners.iter().zip(&sizes).skip(a + 1) {
                let beside = corner.0 + size.0 <= other.0 || other.0 + other_size.0 <= corner.0;
                let above = corner.1 + size.1 <= other.1 || other.1 + other_size.1 <= corner.1;
                assert!(beside || above);
            }
        }
        for ((from, to), route) in edges.iter().zip(&placed.routes) {
            assert!(
                placed.corners[*from].1 < placed.corners[*to].1,
                "edges go down"
            );
            assert!(route.is_sorted_by(|a, b| a.1 <= b.1));
        }
    }
}
