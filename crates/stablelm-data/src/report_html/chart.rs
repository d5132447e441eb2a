//! Bars and histograms as SVG, drawn without a script.

use std::fmt::{self, Display, Formatter};

use super::text::{Grouped, Rounded};
use crate::report::Histogram;

/// A bar in a table beside its numbers, so that a reader of the screen can skip it.
pub(super) struct Bar {
    /// What went in, from 0 to 1, drawn behind.
    pub(super) track: f64,
    /// What is left, from 0 to 1.
    pub(super) fill: f64,
    /// Name of its color in the style sheet.
    pub(super) class: &'static str,
}

impl Display for Bar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=bar viewBox=\"0 0 100 8\" preserveAspectRatio=none aria-hidden=true>\
             <rect class=base width=100 height=8 /><rect class=track width={:.2} height=8 />\
             <rect class={} width={:.2} height=8 /></svg>",
            percent(self.track),
            self.class,
            percent(self.fill)
        )
    }
}

fn percent(share: f64) -> f64 {
    100.0 * share.clamp(0.0, 1.0)
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 34.0;

/// A histogram with its caption, and its numbers as a table behind a switch.
pub(super) struct HistogramChart<'h> {
    pub(super) histogram: &'h Histogram,
    /// What is counted, such as `tokens`.
    pub(super) unit: &'static str,
    /// An identifier that no other chart of the page has.
    pub(super) id: String,
}

impl Display for HistogramChart<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            histogram,
            unit,
            id,
        } = self;
        let buckets = &histogram.buckets;
        let Some(first) = buckets.iter().position(|count| *count > 0) else {
            return Ok(());
        };
        let most = buckets.iter().copied().max().unwrap_or(0);
        write!(
            f,
            "<figure><figcaption id={id}>Length in {unit} <span class=soft>{}</span></figcaption>\n\
             <svg class=histogram viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-labelledby={id}>\
             <line class=grid x1=0 x2={WIDTH} y1={TOP} y2={TOP} />\
             <text x={WIDTH} y={:.0} text-anchor=end>{} documents</text>",
            Median(buckets, unit),
            TOP - 6.0,
            Rounded(most)
        )?;
        let shown = &buckets[first..];
        let step = WIDTH / shown.len() as f64;
        let base = HEIGHT - BOTTOM;
        for (index, count) in shown.iter().enumerate() {
            let height = (base - TOP) * *count as f64 / most as f64;
            // A bucket with anything in it must show.
            let height = if *count > 0 { height.max(1.5) } else { 0.0 };
            let x = index as f64 * step;
            write!(
                f,
                "<rect class=kept x={:.1} y={:.1} width={:.1} height={height:.1} rx=1.5 />",
                x + step * 0.06,
                base - height,
                step * 0.88
            )?;
        }
        // At most eight labels fit on the axis of a phone.
        let every = shown.len().div_ceil(8);
        for index in (0..shown.len()).step_by(every) {
            write!(
                f,
                "<text x={:.1} y={:.0} text-anchor=middle>{}</text>",
                (index as f64 + 0.5) * step,
                base + 15.0,
                Start(first + index)
            )?;
        }
        writeln!(
            f,
            "<line class=axis x1=0 x2={WIDTH} y1={base} y2={base} />\
             <text x=0 y={:.0}>{unit}, from this to twice as many</text></svg>",
            HEIGHT - 3.0
        )?;
        write_numbers(f, first, shown, unit)?;
        f.write_str("</figure>\n")
    }
}

fn write_numbers(f: &mut Formatter<'_>, first: usize, shown: &[u64], unit: &str) -> fmt::Result {
    write!(
        f,
        "<details><summary>Numbers</summary><table><thead><tr><th scope=col>{unit}<th scope=col class=n>documents</thead><tbody>"
    )?;
    for (index, count) in shown.iter().enumerate() {
        let bucket = first + index;
        let from = if bucket == 0 { 0 } else { 1_u64 << bucket };
        let to = (1_u128 << (bucket + 1)) - 1;
        let to = u64::try_from(to).unwrap_or(u64::MAX);
        writeln!(
            f,
            "<tr><th scope=row>{} to {}<td class=n>{}",
            Grouped(from),
            Grouped(to),
            Grouped(*count)
        )?;
    }
    f.write_str("</tbody></table></details>")
}

/// Where half of the documents are, as far as buckets tell.
struct Median<'b>(&'b [u64], &'static str);

impl Display for Median<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let &Self(buckets, unit) = self;
        let all: u64 = buckets.iter().sum();
        let mut below = 0;
        let middle = buckets.iter().position(|count| {
            below += count;
            below >= all.div_ceil(2)
        });
        let bucket = middle.unwrap_or(0);
        let to = u64::try_from(1_u128 << (bucket + 1)).unwrap_or(u64::MAX);
        write!(f, "half have fewer than {} {unit}", Grouped(to))
    }
}

/// Where a bucket starts, short enough for an axis: `512`, `1 Ki`.
struct Start(usize);

impl Display for Start {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let units = ["", " Ki", " Mi", " Gi", " Ti", " Pi", " Ei"];
        match self.0 {
            0 => f.write_str("0"),
            bucket => write!(
                f,
                "{}{}",
                1_u64 << (bucket % 10),
                units[(bucket / 10).min(6)]
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_names_powers_of_two() {
        for (bucket, expected) in [(0, "0"), (1, "2"), (9, "512"), (10, "1 Ki"), (63, "8 Ei")] {
            assert_eq!(Start(bucket).to_string(), expected);
        }
    }

    #[test]
    fn the_median_is_the_bucket_with_the_middle_document() {
        for (buckets, expected) in [
            (vec![1], "half have fewer than 2 tokens"),
            (vec![1, 0, 2], "half have fewer than 8 tokens"),
            (vec![2, 0, 2], "half have fewer than 2 tokens"),
        ] {
            assert_eq!(Median(&buckets, "tokens").to_string(), expected);
        }
    }

    #[test]
    fn a_chart_of_nothing_is_nothing_and_of_the_largest_number_is_one() {
        let chart = |buckets| {
            HistogramChart {
                histogram: &Histogram { buckets },
                unit: "tokens",
                id: "h".to_owned(),
            }
            .to_string()
        };
        assert_eq!(chart(vec![]), "");
        let mut buckets = vec![0; 64];
        buckets[63] = u64::MAX;
        assert!(chart(buckets).contains("18,446,744,073,709,551,615"));
    }
}
