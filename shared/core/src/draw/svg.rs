//! The drawing for the console and for documents.

use std::fmt::Write as _;

use super::layers::{Point, Size, place};
use super::order::as_f64;
use super::picture::{Item, Part, Picture, Role};

/// Around the drawing and inside clusters.
const PAD: f64 = 16.0;
/// Room for the heading of a cluster.
const HEAD: f64 = 30.0;
const BOX_WIDTH_MIN: f64 = 112.0;
const BOX_HEIGHT: f64 = 44.0;
/// Characters shown of an id and of a detail; the rest is in the tooltip.
const ID_MAX: usize = 34;
const DETAIL_MAX: usize = 48;
/// Average width of a character in the two sizes of text, with some room for wider fonts.
const ID_CHAR: f64 = 7.6;
const DETAIL_CHAR: f64 = 6.1;

/// Colours are variables, so that a page that embeds the drawing can set its own.
const STYLE: &str = "\
.operon-plan{--ink:#1f2328;--muted:#59636e;--box:#fff;--box-line:#8c959f;--edge:#818b98;\
--group:#818b9814;--group-line:#d1d9e0;--error:#cf222e;\
font-family:ui-sans-serif,system-ui,'Segoe UI',Roboto,sans-serif}\
@media(prefers-color-scheme:dark){.operon-plan{--ink:#f0f6fc;--muted:#9198a1;--box:#151b23;\
--box-line:#656c76;--edge:#7d8590;--group:#9198a114;--group-line:#3d444d;--error:#f85149}}\
.operon-plan text{fill:var(--ink);font-size:13px}\
.operon-plan .id{font-weight:600}\
.operon-plan .detail{fill:var(--muted);font-size:11px;font-weight:400}\
.operon-plan .title{font-size:15px;font-weight:600}\
.operon-plan .task rect{fill:var(--box);stroke:var(--box-line)}\
.operon-plan .conditional>rect{stroke-dasharray:4 3}\
.operon-plan .group>rect{fill:var(--group);stroke:var(--group-line)}\
.operon-plan .part>rect{fill:none;stroke:var(--group-line);stroke-dasharray:2 3}\
.operon-plan .errors>rect{stroke:var(--error)}\
.operon-plan .errors>text{fill:var(--error)}\
.operon-plan .edge{fill:none;stroke:var(--edge);stroke-width:1.4}\
.operon-plan marker path{fill:var(--edge)}";

pub(super) fn render(picture: &Picture) -> String {
    let content = arrange(&picture.parts);
    let title_width = width_of(&picture.title, 8.8);
    let width = content.size.0.max(title_width) + 2.0 * PAD;
    let height = content.size.1 + HEAD + 2.0 * PAD;
    let label = escape(&picture.title);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"operon-plan\" role=\"img\" \
         aria-label=\"{label}\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n\
         <style>{STYLE}</style>\n\
         <defs><marker id=\"operon-arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0.5L8 4L0 7.5z\"/></marker></defs>\n\
         <text class=\"title\" x=\"{x}\" y=\"{y}\">{label}</text>\n",
        w = number(width),
        h = number(height),
        x = number(PAD),
        y = number(PAD + 15.0),
    );
    let left = PAD + (width - 2.0 * PAD - content.size.0) / 2.0;
    for shape in content.moved(left, PAD + HEAD).shapes {
        shape.write(&mut out);
    }
    out.push_str("</svg>\n");
    out
}

/// Shapes with their own origin, in the order in which they are painted.
struct Piece {
    size: Size,
    shapes: Vec<Shape>,
}

enum Shape {
    Task {
        corner: Point,
        size: Size,
        item: Label,
    },
    Frame {
        corner: Point,
        size: Size,
        item: Label,
        class: &'static str,
    },
    Edge(Vec<Point>),
}

struct Label {
    id: String,
    detail: String,
    conditional: bool,
}

impl Piece {
    fn moved(mut self, right: f64, down: f64) -> Self {
        let shift = |point: &mut Point| *point = (point.0 + right, point.1 + down);
        for shape in &mut self.shapes {
            match shape {
                Shape::Task { corner, .. } | Shape::Frame { corner, .. } => shift(corner),
                Shape::Edge(points) => points.iter_mut().for_each(shift),
            }
        }
        self
    }
}

/// The items of a part in layers, and the edges between them.
fn block(part: &Part) -> Piece {
    let pieces: Vec<Piece> = part.items.iter().map(item).collect();
    let sizes: Vec<Size> = pieces.iter().map(|piece| piece.size).collect();
    let placed = place(&sizes, &part.edges);
    let mut shapes: Vec<Shape> = placed.routes.into_iter().map(Shape::Edge).collect();
    for (piece, corner) in pieces.into_iter().zip(&placed.corners) {
        shapes.extend(piece.moved(corner.0, corner.1).shapes);
    }
    Piece {
        size: placed.size,
        shapes,
    }
}

fn item(item: &Item) -> Piece {
    let label = Label {
        id: item.id.clone(),
        detail: item.detail.clone(),
        conditional: item.conditional,
    };
    if !item.is_cluster {
        let text = width_of(&cut(&item.id, ID_MAX), ID_CHAR)
            .max(width_of(&clip(&item.detail, DETAIL_MAX), DETAIL_CHAR));
        let size = ((text + 2.0 * PAD).max(BOX_WIDTH_MIN), BOX_HEIGHT);
        let corner = (0.0, 0.0);
        return Piece {
            size,
            shapes: vec![Shape::Task {
                corner,
                size,
                item: label,
            }],
        };
    }
    framed(arrange(&item.parts), label, "group")
}

/// Body or branches, and below them the handlers beside each other.
fn arrange(parts: &[Part]) -> Piece {
    let is_handler = |part: &&Part| matches!(part.role, Role::Errors | Role::Finally | Role::After);
    let main: Vec<Piece> = parts.iter().filter(|p| !is_handler(p)).map(part).collect();
    let handlers: Vec<Piece> = parts.iter().filter(is_handler).map(part).collect();
    let rows = [main, handlers]
        .into_iter()
        .filter(|pieces| !pieces.is_empty());
    stack(rows.map(row))
}

/// A part: the body as it is, anything else in a frame with its name.
fn part(part: &Part) -> Piece {
    let class = match part.role {
        Role::Body => return block(part),
        Role::Errors => "part errors",
        Role::Branch(_) | Role::Finally | Role::After => "part",
    };
    let label = Label {
        id: part.role.label().to_owned(),
        detail: String::new(),
        conditional: false,
    };
    framed(block(part), label, class)
}

/// A frame with a heading around a piece.
fn framed(content: Piece, item: Label, class: &'static str) -> Piece {
    let heading = width_of(&cut(&item.id, ID_MAX), ID_CHAR)
        + width_of(&clip(&item.detail, DETAIL_MAX), DETAIL_CHAR)
        + 10.0;
    let inner = content.size.0.max(heading);
    let size = (inner + 2.0 * PAD, content.size.1 + HEAD + PAD);
    let left = PAD + (inner - content.size.0) / 2.0;
    let corner = (0.0, 0.0);
    let mut shapes = vec![Shape::Frame {
        corner,
        size,
        item,
        class,
    }];
    shapes.extend(content.moved(left, HEAD).shapes);
    Piece { size, shapes }
}

/// Pieces below each other, centred.
fn stack(pieces: impl IntoIterator<Item = Piece>) -> Piece {
    let pieces: Vec<Piece> = pieces.into_iter().collect();
    let width = pieces
        .iter()
        .fold(0.0, |max: f64, piece| max.max(piece.size.0));
    let (mut shapes, mut top) = (Vec::new(), 0.0);
    for piece in pieces {
        let (own, height) = piece.size;
        shapes.extend(piece.moved((width - own) / 2.0, top).shapes);
        top += height + PAD;
    }
    let size = (width, (top - PAD).max(0.0));
    Piece { size, shapes }
}

/// Pieces beside each other, at the same top.
fn row(pieces: Vec<Piece>) -> Piece {
    let height = pieces
        .iter()
        .fold(0.0, |max: f64, piece| max.max(piece.size.1));
    let (mut shapes, mut left) = (Vec::new(), 0.0);
    for piece in pieces {
        let width = piece.size.0;
        shapes.extend(piece.moved(left, 0.0).shapes);
        left += width + PAD;
    }
    let size = ((left - PAD).max(0.0), height);
    Piece { size, shapes }
}

impl Shape {
    fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Task { corner, size, item } => task(out, *corner, *size, item),
            Self::Frame {
                corner,
                size,
                item,
                class,
            } => frame(out, *corner, *size, item, class),
            Self::Edge(points) => edge(out, points),
        };
    }
}

fn rect(corner: Point, size: Size, radius: u8) -> String {
    format!(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{radius}\"/>",
        number(corner.0),
        number(corner.1),
        number(size.0),
        number(size.1)
    )
}

fn task(out: &mut String, corner: Point, size: Size, item: &Label) -> std::fmt::Result {
    let x = number(corner.0 + size.0 / 2.0);
    let class = if item.conditional {
        "task conditional"
    } else {
        "task"
    };
    let id = escape(&item.id);
    write!(
        out,
        "<g class=\"{class}\" data-task=\"{id}\"><title>{id}: {}</title>{}",
        escape(&item.detail),
        rect(corner, size, 6)
    )?;
    writeln!(
        out,
        "<text class=\"id\" text-anchor=\"middle\" x=\"{x}\" y=\"{}\">{}</text>\
         <text class=\"detail\" text-anchor=\"middle\" x=\"{x}\" y=\"{}\">{}</text></g>",
        number(corner.1 + 19.0),
        escape(&cut(&item.id, ID_MAX)),
        number(corner.1 + 34.0),
        escape(&clip(&item.detail, DETAIL_MAX)),
    )
}

fn frame(
    out: &mut String,
    corner: Point,
    size: Size,
    item: &Label,
    class: &str,
) -> std::fmt::Result {
    let conditional = if item.conditional { " conditional" } else { "" };
    write!(out, "<g class=\"{class}{conditional}\"")?;
    if class == "group" {
        let id = escape(&item.id);
        write!(
            out,
            " data-task=\"{id}\"><title>{id}: {}</title>",
            escape(&item.detail)
        )?;
    } else {
        out.push('>');
    }
    write!(
        out,
        "{}<text x=\"{}\" y=\"{}\"><tspan class=\"id\">{}</tspan>",
        rect(corner, size, 8),
        number(corner.0 + 12.0),
        number(corner.1 + 20.0),
        escape(&cut(&item.id, ID_MAX))
    )?;
    if !item.detail.is_empty() {
        let detail = escape(&clip(&item.detail, DETAIL_MAX));
        write!(out, "<tspan class=\"detail\" dx=\"8\">{detail}</tspan>")?;
    }
    writeln!(out, "</text></g>")
}

/// Straight inside a layer, curved between layers.
fn edge(out: &mut String, points: &[Point]) -> std::fmt::Result {
    out.push_str("<path class=\"edge\" marker-end=\"url(#operon-arrow)\" d=\"");
    let mut previous: Option<(String, String)> = None;
    for (at, point) in points.iter().enumerate() {
        let here = (number(point.0), number(point.1));
        let (x, y) = &here;
        match &previous {
            None => write!(out, "M{x} {y}")?,
            // A line without length has no direction, and the arrow would take it.
            Some(last) if *last == here => {}
            Some((last_x, _)) if at % 2 == 0 && last_x != x => {
                let middle = number(f64::midpoint(points[at - 1].1, point.1));
                write!(out, "C{last_x} {middle} {x} {middle} {x} {y}")?;
            }
            Some(_) => write!(out, "L{x} {y}")?,
        }
        previous = Some(here);
    }
    writeln!(out, "\"/>")
}

/// With one decimal at most.
fn number(x: f64) -> String {
    let text = format!("{x:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Estimated; letters of East Asian scripts are about twice as wide.
fn width_of(text: &str, per_char: f64) -> f64 {
    let units = text
        .chars()
        .map(|c| if c >= '\u{1100}' { 2 } else { 1 })
        .sum::<usize>();
    as_f64(units) * per_char
}

/// Cuts the middle out of long text: ids often differ at their end.
fn cut(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    let tail = max / 2 - 1;
    let head = max - tail - 1;
    let end: String = text.chars().skip(count - tail).collect();
    text.chars()
        .take(head)
        .chain(['…'])
        .chain(end.chars())
        .collect()
}

/// Cuts the end off long text.
fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let head: String = text.chars().take(max - 1).collect();
    format!("{}…", head.trim_end_matches([' ', '…']))
}

/// For text and attributes in quotes. Control characters, which XML forbids, become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
