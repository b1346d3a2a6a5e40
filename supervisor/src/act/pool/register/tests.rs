use super::*;

fn counter(name: &str) -> Declaration {
    Declaration { kind: Kind::Counter, name: name.into(), help: "Help.".into(), labels: vec![], bounds: vec![] }
}

fn histogram(name: &str, bounds: usize) -> Declaration {
    let bounds = (0..bounds).map(|bound| bound as f64).collect();
    Declaration { kind: Kind::Histogram, bounds, ..counter(name) }
}

/// Declares as a template of this edition that has loaded.
fn declare(register: &mut Register, edition: u32, new: Declaration, mine: &[u16]) -> Result<u16, String> {
    let word = register.declare(new, mine)?;
    register.settle(Edition(edition), &[word]);
    Ok(word)
}

#[test]
fn a_series_that_is_declared_again_keeps_its_words_and_another_gets_others() {
    let mut register = Register::new("test").unwrap();
    let first = declare(&mut register, 1, counter("a_total"), &[]).unwrap();
    let second = declare(&mut register, 1, counter("b_total"), &[first]).unwrap();
    assert_ne!(first, second);
    assert_eq!(declare(&mut register, 2, counter("b_total"), &[]).unwrap(), second);
    register.release(1, &[], |edition| edition == Edition(2));
    let names: Vec<String> = register.read(1).into_iter().map(|family| family.name).collect();
    assert_eq!(names, ["b_total"]);
    // The words of the one that has gone are free.
    assert_eq!(declare(&mut register, 2, counter("c_total"), &[second]).unwrap(), first);
}

#[test]
fn what_a_template_has_declared_that_never_loaded_is_nobodys() {
    let mut register = Register::new("test").unwrap();
    let first = register.declare(counter("a_total"), &[]).unwrap();
    register.release(1, &[first], |_| true);
    assert_eq!(register.read(1), []);
    assert_ne!(register.declare(counter("b_total"), &[]).unwrap(), first);
    register.release(1, &[], |_| true);
    assert_eq!(register.declare(counter("c_total"), &[]).unwrap(), first);
}

#[test]
fn what_is_declared_once_more_after_it_was_given_up_begins_at_nothing() {
    let mut register = Register::new("test").unwrap();
    declare(&mut register, 1, histogram("size", 3), &[]).unwrap();
    register.release(1, &[], |_| false);
    assert_eq!(register.read(1), []);
    declare(&mut register, 2, histogram("size", 3), &[]).unwrap();
    let [family] = &register.read(1)[..] else { panic!("one family") };
    let nothing = Value::Histogram { bounds: vec![0.0, 1.0, 2.0], buckets: vec![0; 4], sum: 0.0 };
    assert_eq!(family.series[0].value, nothing);
}

#[test]
fn an_edition_that_means_something_else_by_a_name_does_not_spoil_it() {
    let mut register = Register::new("test").unwrap();
    declare(&mut register, 1, histogram("size", 3), &[]).unwrap();
    declare(&mut register, 2, histogram("size", 4), &[]).unwrap();
    let [family] = &register.read(1)[..] else { panic!("one family") };
    let Value::Histogram { bounds, .. } = &family.series[0].value else { panic!("a histogram") };
    assert_eq!(bounds.len(), 4);
}

#[test]
fn a_program_that_declares_without_end_is_refused() {
    let mut register = Register::new("test").unwrap();
    let mut mine = Vec::new();
    let refused =
        (0..300).find_map(|number| match declare(&mut register, 1, counter(&format!("c{number}_total")), &mine) {
            Ok(word) => {
                mine.push(word);
                None
            }
            Err(why) => Some((number, why)),
        });
    let (number, why) = refused.unwrap();
    assert_eq!(number, 256);
    assert!(why.contains("no more room"), "{why}");
    let twice = declare(&mut register, 1, counter("c0_total"), &mine).unwrap_err();
    assert!(twice.contains("declared already"), "{twice}");

    // Editions that have nothing in common have room for as long as there are four of them.
    for edition in 2..5 {
        let mut mine = Vec::new();
        for number in 0..256 {
            let name = format!("c{edition}_{number}_total");
            mine.push(declare(&mut register, edition, counter(&name), &mine).unwrap());
        }
    }
    let full = declare(&mut register, 5, counter("one_more_total"), &[]).unwrap_err();
    assert!(full.contains("until workers of earlier generations have gone"), "{full}");
}

#[test]
fn what_is_silly_is_refused_whoever_says_it() {
    let mut register = Register::new("test").unwrap();
    let silly = [
        counter("ratoon_deaths_total"),
        counter("a\nb_total"),
        Declaration { bounds: vec![1.0], ..counter("a_total") },
        histogram("size", 31),
        Declaration { labels: vec![("b".into(), "1".into()), ("a".into(), "1".into())], ..counter("a_total") },
        Declaration { help: "x".repeat(10_000), ..counter("a_total") },
    ];
    for declaration in silly {
        assert!(declare(&mut register, 1, declaration.clone(), &[]).is_err(), "{declaration:?}");
    }
}
