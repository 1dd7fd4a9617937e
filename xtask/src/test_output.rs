//! Counting tests in what test runners print, and choosing what of it a person needs to see.

use crate::test::Totals;

/// How a test says that it had nothing to work on; it then passes as far as its runner knows.
const SKIPPED: &str = "skipped:";

/// `cargo test -- --show-output`, of any number of test programs.
#[derive(Default)]
pub(crate) struct CargoTest {
    totals: Totals,
    part: Part,
    /// Name of the test whose output is being read.
    test: String,
    said_skipped: bool,
    /// Tests that said so; their runner counts them as passed.
    skipped: usize,
}

#[derive(Default, PartialEq, Eq)]
enum Part {
    #[default]
    Running,
    Successes,
    Failures,
}

impl CargoTest {
    /// Takes a line of standard output; returns what to show of it.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.part = Part::Running;
            let count = |word| number_before(counts, word);
            self.totals.passed += count(" passed");
            self.totals.failed += count(" failed");
            self.totals.skipped += count(" ignored");
            return Some(line.to_owned());
        }
        match line {
            "successes:" => self.part = Part::Successes,
            "failures:" => self.part = Part::Failures,
            _ => {}
        }
        match self.part {
            Part::Running => {
                let dull = line.is_empty() || line.ends_with("... ok");
                (!dull).then(|| line.to_owned())
            }
            Part::Failures => Some(line.to_owned()),
            Part::Successes => {
                if let Some(name) = line
                    .strip_prefix("---- ")
                    .and_then(|rest| rest.strip_suffix(" stdout ----"))
                {
                    name.clone_into(&mut self.test);
                    self.said_skipped = false;
                } else if line.starts_with(SKIPPED) && !self.said_skipped {
                    self.said_skipped = true;
                    self.skipped += 1;
                    return Some(format!("test {} ... {line}", self.test));
                }
                None
            }
        }
    }

    /// What was counted; complete when the output has ended.
    pub(crate) fn totals(&self) -> Totals {
        let Totals {
            passed,
            failed,
            skipped,
        } = self.totals;
        Totals {
            passed: passed.saturating_sub(self.skipped),
            failed,
            skipped: skipped + self.skipped,
        }
    }
}

/// Test Anything Protocol, as node's test runner prints it. Tests are counted as they end: the runner's own totals come
/// only once nothing in its process waits any more, which a browser's last connection can put off for ever.
#[derive(Default)]
pub(crate) struct Tap {
    totals: Totals,
    complete: bool,
    explaining: bool,
}

/// What our tests say when all of them have run.
pub(crate) const ALL_RAN: &str = "# every test has run";

impl Tap {
    /// Takes a line of standard output; returns what to show of it.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if line.starts_with("1..") || line == ALL_RAN {
            self.complete = true;
            return None;
        }
        if let Some(comment) = line.strip_prefix("# ") {
            return (!comment.starts_with("Subtest: ")).then(|| comment.to_owned());
        }
        let (passed, failed) = (line.starts_with("ok "), line.starts_with("not ok "));
        let skipped = passed && line.contains(" # SKIP");
        self.totals.passed += usize::from(passed && !skipped);
        self.totals.failed += usize::from(failed);
        self.totals.skipped += usize::from(skipped);
        let inner = line.trim_start();
        if inner.starts_with("not ok ") {
            self.explaining = true;
        } else if inner.starts_with("ok ") || inner == "..." {
            let shown = inner.starts_with("ok ").then(|| line.to_owned());
            self.explaining = false;
            return shown;
        }
        self.explaining.then(|| line.to_owned())
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether all tests have run.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }
}

/// The number that stands right before a word; 0 if there is none.
fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().filter(|before| before.len() < text.len());
    before
        .and_then(|before| before.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tests_are_counted_and_the_skipped_told_apart() {
        let output = "\n\
            running 4 tests\n\
            test a ... ok\n\
            test b ... ok\n\
            test c ... FAILED\n\
            test d ... ignored\n\
            \n\
            successes:\n\
            \n\
            ---- b stdout ----\n\
            skipped: no data\n\
            skipped: no data\n\
            \n\
            successes:\n    a\n    b\n\
            \n\
            failures:\n\
            \n\
            ---- c stdout ----\n\
            it broke\n\
            \n\
            test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
            running 1 test\n\
            test e ... ok\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let mut tests = CargoTest::default();
        let shown: Vec<String> = output.lines().filter_map(|line| tests.line(line)).collect();
        assert_eq!(
            tests.totals(),
            Totals {
                passed: 2,
                failed: 1,
                skipped: 2
            }
        );
        assert!(shown.contains(&"it broke".to_owned()));
        assert!(shown.contains(&"test b ... skipped: no data".to_owned()));
        assert!(!shown.iter().any(|line| line.ends_with("... ok")));
    }

    #[test]
    fn tap_is_counted_and_failures_are_explained() {
        let output = "TAP version 13\n\
            # Subtest: opens\n\
            ok 1 - opens\n  ---\n  duration_ms: 5\n  ...\n\
            # Subtest: saves\n\
            not ok 2 - saves\n  ---\n  error: 'no file'\n  ...\n\
            ok 3 - sings # SKIP no voice\n  ---\n  duration_ms: 0\n  ...\n";
        let mut tap = Tap::default();
        let shown: Vec<String> = output.lines().filter_map(|line| tap.line(line)).collect();
        assert!(!tap.complete());
        tap.line(ALL_RAN);
        assert!(tap.complete());
        assert_eq!(
            tap.totals(),
            Totals {
                passed: 1,
                failed: 1,
                skipped: 1
            }
        );
        assert!(shown.contains(&"  error: 'no file'".to_owned()));
        assert!(!shown.contains(&"  duration_ms: 5".to_owned()));
    }
}
