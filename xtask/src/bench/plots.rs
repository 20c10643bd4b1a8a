//! Pictures of what profilers cost: a bar for each, as SVG, beside the tables.

use std::fmt::Write;

use super::figures::{Figures, Results};

/// One picture: a figure of every profiler on one workload.
pub(super) struct Plot {
    /// The file's name.
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    workload: &'static str,
    rate: u32,
    read: fn(&Figures) -> Option<f64>,
    /// What spans powers of ten is drawn by its logarithm.
    is_logarithmic: bool,
}

pub(super) const PLOTS: [Plot; 4] = [
    Plot {
        file: "cpu-100.svg",
        title: "CPU of the profiler for 1,000 samples at 100 Hz, s (start and output included)",
        workload: "zlib_example",
        rate: 100,
        read: |f| f.cpu_per_thousand,
        is_logarithmic: true,
    },
    Plot {
        file: "cpu-1000.svg",
        title: "CPU of the profiler for 1,000 samples at 1 kHz, s (start and output included)",
        workload: "zlib_example",
        rate: 1000,
        read: |f| f.cpu_per_thousand,
        is_logarithmic: true,
    },
    Plot {
        file: "loss-1000.svg",
        title: "Work that the target loses at 1 kHz, %",
        workload: "zlib_example",
        rate: 1000,
        read: |f| f.loss_percent,
        is_logarithmic: false,
    },
    Plot {
        file: "recursion-1000.svg",
        title: "CPU of the profiler for 1,000 samples of stacks of 900 calls at 1 kHz, s",
        workload: "recursion_900",
        rate: 1000,
        read: |f| f.cpu_per_thousand,
        is_logarithmic: true,
    },
];

const LEFT: f64 = 170.0;
const LENGTH: f64 = 420.0;
const ROW: f64 = 26.0;
const TOP: f64 = 40.0;
const WIDTH: f64 = 680.0;

impl Plot {
    /// The picture; `None` when the run has measured fewer than two profilers there.
    pub(super) fn draw(&self, results: &Results) -> Option<String> {
        let row = results.rows.get(&Results::key(self.workload, self.rate))?;
        let mut bars: Vec<(&str, f64)> = row
            .iter()
            .filter_map(|(name, figures)| Some((name.as_str(), (self.read)(figures)?)))
            .filter(|(_, value)| value.is_finite() && (!self.is_logarithmic || *value > 0.0))
            .collect();
        if bars.len() < 2 {
            return None;
        }
        bars.sort_by(|left, right| left.1.total_cmp(&right.1));
        let scale = self.scale(&bars);
        let height = TOP + ROW * bars.len() as f64 + 10.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"22\" font-weight=\"bold\" fill=\"#222\">{}</text>\n",
            escape(self.title)
        );
        for (index, (name, value)) in bars.iter().enumerate() {
            let top = TOP + ROW * index as f64;
            let length = (LENGTH * scale(*value)).max(1.0);
            let colour = match name.starts_with("viperf") {
                true => "#2f6fbf",
                false => "#a9a9a9",
            };
            // Writing to a string cannot fail.
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" fill=\"#222\">{}</text>",
                LEFT - 8.0,
                top + 13.0,
                escape(name),
                top,
                LEFT + length + 6.0,
                top + 13.0,
                show(*value)
            )
            .ok();
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }

    /// Which part of the longest bar a value is.
    fn scale(&self, bars: &[(&str, f64)]) -> impl Fn(f64) -> f64 + use<> {
        let values = || bars.iter().map(|(_, value)| *value);
        let most = values().fold(f64::MIN_POSITIVE, f64::max);
        // The shortest bar of a logarithmic picture is as long as a factor of two.
        let least = values().fold(most, f64::min) / 2.0;
        let is_logarithmic = self.is_logarithmic;
        move |value| match is_logarithmic {
            true => (value / least).ln() / (most / least).ln(),
            false => value / most,
        }
    }
}

fn show(value: f64) -> String {
    match value.abs() {
        large if large >= 10.0 => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_in_order_and_one_profiler_alone_is_no_picture() {
        let mut results = Results {
            machine: String::new(),
            rows: Default::default(),
        };
        let of = |cpu| Figures {
            cpu_per_thousand: Some(cpu),
            ..Figures::default()
        };
        results.add("zlib_example", 100, "viperf", of(0.05));
        let plot = &PLOTS[0];
        assert_eq!(plot.draw(&results), None);
        results.add("zlib_example", 100, "another", of(0.5));
        results.add("zlib_example", 100, "a third <one>", of(0.2));
        let svg = plot.draw(&results).unwrap();
        let places = ["viperf", "a third &lt;one>", "another"].map(|name| svg.find(name).unwrap());
        assert!(places.is_sorted());
        assert!(svg.contains("width=\"420.0\""));
        assert!(svg.contains(">0.050<"));
    }

    #[test]
    fn what_costs_nothing_or_less_has_the_shortest_bar() {
        let mut results = Results {
            machine: String::new(),
            rows: Default::default(),
        };
        for (name, loss) in [("viperf", -0.2), ("another", 20.0)] {
            let figures = Figures {
                loss_percent: Some(loss),
                ..Figures::default()
            };
            results.add("zlib_example", 1000, name, figures);
        }
        let svg = PLOTS[2].draw(&results).unwrap();
        assert!(svg.contains("width=\"1.0\"") && svg.contains(">-0.200<"));
    }
}
