//! Which Pods of a model go and how many come: by how many there should be, and by whether each was made from the model as it
//! is now. Pure.
//!
//! A Pod of an earlier description goes when one of the present description answers in its place, so that as many as before
//! answer all the time. There is one more than there should be meanwhile.

/// A Pod that is there, and that nobody has deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) name: String,
    /// It can take requests.
    pub(crate) answers: bool,
    /// It was made from the model as it is now.
    pub(crate) current: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Get no more requests, and go.
    pub(crate) leave: Vec<String>,
    /// So many are made.
    pub(crate) make: usize,
}

/// Decides. The Pods are in the order in which they are kept.
pub(crate) fn plan(present: &[Present], desired: usize) -> Plan {
    let current: Vec<&Present> = present.iter().filter(|pod| pod.current).collect();
    let kept = current.len().min(desired);
    let replaced = current.iter().take(kept).filter(|pod| pod.answers).count();
    // Those that answer are kept longest.
    let mut former: Vec<&Present> = present.iter().filter(|pod| !pod.current).collect();
    former.sort_by_key(|pod| !pod.answers);
    let staying = former.len().min(desired - replaced);
    let leave = current.iter().skip(kept).chain(former.iter().skip(staying));
    let room = if staying == 0 { desired } else { desired + 1 };
    Plan {
        leave: leave.map(|pod| pod.name.clone()).collect(),
        make: (desired - kept).min(room.saturating_sub(kept + staying)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Present, plan};

    /// `a+` is a Pod as the model is now that answers, `b-` an earlier one; in brackets it does not answer.
    fn pods(written: &str) -> Vec<Present> {
        let pod = |text: &str| Present {
            name: text.trim_matches(['(', ')', '+', '-']).to_owned(),
            answers: !text.starts_with('('),
            current: text.contains('+'),
        };
        written.split_whitespace().map(pod).collect()
    }

    fn of(written: &str, desired: usize) -> (String, usize) {
        let Plan { leave, make } = plan(&pods(written), desired);
        (leave.join(" "), make)
    }

    #[test]
    fn as_many_as_there_should_be() {
        assert_eq!(of("", 3), (String::new(), 3));
        assert_eq!(of("a+ (b+)", 2), (String::new(), 0));
        assert_eq!(of("a+ b+ c+", 1), ("b c".to_owned(), 0));
        assert_eq!(of("a+ b-", 0), ("a b".to_owned(), 0));
    }

    #[test]
    fn an_earlier_pod_goes_when_another_answers_in_its_place() {
        for (written, desired, leave, make) in [
            ("a-", 1, "", 1),
            ("a- (b+)", 1, "", 0),
            ("a- b+", 1, "a", 0),
            ("a- b- c-", 3, "", 1),
            ("a- b- c- (d+)", 3, "", 0),
            ("a- b- c- d+", 3, "c", 1),
            ("b- d+ e+ c-", 3, "c", 1),
            ("(a-) b- c+", 2, "a", 1),
        ] {
            assert_eq!(of(written, desired), (leave.to_owned(), make), "{written} {desired}");
        }
    }

    #[test]
    fn whatever_is_there_as_many_answer_as_before_and_it_comes_to_an_end() {
        for count in 1..6 {
            let mut present = pods(&(0..count).map(|number| format!("old{number}- ")).collect::<String>());
            for round in 0.. {
                assert!(round < 50, "it goes on: {present:?}");
                let Plan { leave, make } = plan(&present, count);
                let answering = |pod: &&Present| pod.answers && !leave.contains(&pod.name);
                assert!(present.iter().filter(answering).count() >= count, "{present:?} without {leave:?}");
                if leave.is_empty() && make == 0 && present.iter().all(|pod| pod.current && pod.answers) {
                    break;
                }
                present.retain(|pod| !leave.contains(&pod.name));
                present.iter_mut().for_each(|pod| pod.answers = true);
                let name = format!("new{round}");
                present.extend((0..make).map(|_| Present {
                    name: name.clone(),
                    answers: false,
                    current: true,
                }));
                assert!(present.len() <= count + 1, "{present:?}");
            }
        }
    }
}
