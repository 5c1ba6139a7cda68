//! Line charts as SVG. Pure.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
/// Margins for the axis labels: left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 16.0, 12.0, 30.0);

/// A line and its name. The class of line n is `line-n`.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Draws `lines` over a common x axis with labelled `ticks`.
pub fn svg(title: &str, unit: &str, lines: &[Line], ticks: &[(f64, String)]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let left = ticks.first().map_or(0.0, |tick| tick.0);
    let right = ticks.last().map_or(1.0, |tick| tick.0).max(left + f64::EPSILON);
    let top = nice(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let x = |value: f64| MARGIN.0 + (value - left) / (right - left) * (WIDTH - MARGIN.0 - MARGIN.1);
    let y = |value: f64| HEIGHT - MARGIN.3 - value / top * (HEIGHT - MARGIN.2 - MARGIN.3);
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#, escaped(title));
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let at = y(value);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{}" x2="{}" y1="{at:.1}" y2="{at:.1}"/><text class="y" x="{}" y="{:.1}">{}{}</text>"#,
            MARGIN.0,
            WIDTH - MARGIN.1,
            MARGIN.0 - 6.0,
            at + 4.0,
            short(value),
            if step == 4 { format!(" {}", escaped(unit)) } else { String::new() }
        );
    }
    for (value, name) in ticks {
        let _ = write!(svg, r#"<text class="x" x="{:.1}" y="{}">{}</text>"#, x(*value), HEIGHT - 10.0, escaped(name));
    }
    for (index, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for (at, value) in line.points.iter().filter(|(at, value)| at.is_finite() && value.is_finite()) {
            let _ = write!(path, "{:.1},{:.1} ", x(*at), y(*value));
        }
        let _ = write!(
            svg,
            r#"<polyline class="line-{index}" points="{}"><title>{}</title></polyline>"#,
            path.trim_end(),
            escaped(&line.name)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Ticks at whole seconds from 0 to `end`, about ten.
pub fn seconds(end: f64) -> Vec<(f64, String)> {
    let step = nice(end / 10.0).max(1.0).ceil();
    let mut ticks = vec![];
    let mut at = 0.0;
    while at <= end + step * 0.999 {
        ticks.push((at, format!("{at:.0} s")));
        at += step;
    }
    ticks
}

/// Rounds up to the next of 1, 2, 2.5, 5, 10, …
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.iter().map(|step| step * magnitude).find(|step| *step >= value * 0.999_999).unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value if value == 0.0 || value >= 10.0 => format!("{}", (value * 10.0).round() / 10.0),
        value => format!("{}", (value * 1_000.0).round() / 1_000.0),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_within_the_chart() {
        let line = Line { name: "a<b".to_owned(), points: vec![(0.0, 0.0), (10.0, 80.0), (5.0, f64::NAN)] };
        let svg = svg("speed", "ms", &[line], &seconds(10.0));
        assert!(svg.contains(r#"points="64.0,210.0 624.0,"#), "{svg}");
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN"));
    }

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([nice(0.0), nice(0.3), nice(7.0), nice(100.0), nice(2_100.0)], [1.0, 0.5, 10.0, 100.0, 2_500.0]);
        assert_eq!(seconds(3.4).len(), 5);
        assert!(seconds(3_600.0).len() <= 12);
    }
}
