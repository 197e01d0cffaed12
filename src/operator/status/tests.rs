use super::*;
use crate::operator::terminal::Colours;
use crate::types::view::AddressView;

const SCREEN: Terminal = Terminal::Screen { colours: Colours::Unwanted, width: Some(120) };

fn sample() -> View {
    serde_json::from_str(include_str!("../../../tests/samples/status.json")).unwrap()
}

/// The sample with everything as it should be.
fn whole() -> View {
    let mut view = sample();
    let group = &mut view.groups[0];
    group.addresses[3].state = "online".to_owned();
    group.hosts[3].serving[1].state = "online".to_owned();
    group.problems.clear();
    group.dropped.clear();
    view
}

fn first_line(view: &View) -> String {
    render(view, Terminal::Pipe, Detail::Each).lines().next().unwrap().to_owned()
}

#[test]
fn a_whole_group_is_one_sentence() {
    assert_eq!(first_line(&whole()), "www: 3 of 4 hosts, all served; survives the loss of any one host: yes");
    assert!(is_whole(&whole()));
}

#[test]
fn hosts_whose_loss_nobody_could_make_up_for_are_named() {
    let mut view = whole();
    for host in &mut view.groups[0].hosts {
        host.quiesced |= host.name == "web4";
    }
    assert_eq!(first_line(&view), "www: 3 of 4 hosts, all served; survives the loss of any one host: no (web1)");
}

#[test]
fn what_is_unserved_is_named() {
    let mut view = whole();
    let address = &mut view.groups[0].addresses[0];
    address.state = "unserved".to_owned();
    address.kernel.clear();
    address.served_by.clear();
    view.groups[0].hosts[0].serving.clear();
    assert_eq!(first_line(&view), "www: 3 of 4 hosts, 1 of 4 addresses unserved (192.0.2.11); survives the loss of any one host: yes");
    assert!(!is_whole(&view));
}

#[test]
fn an_address_that_is_online_but_in_no_kernel_is_unserved() {
    let mut view = whole();
    view.groups[0].addresses[0].kernel.clear();
    assert_eq!(first_line(&view), "www: 3 of 4 hosts, 1 of 4 addresses unserved (192.0.2.11); survives the loss of any one host: yes");
    assert!(render(&view, Terminal::Pipe, Detail::Each).contains("online, in no kernel"));
}

#[test]
fn an_address_that_is_being_acquired_counts_as_held_once_a_kernel_has_it() {
    assert_eq!(first_line(&sample()), "www: 3 of 4 hosts, all served, 1 moving; survives the loss of any one host: yes");
    let mut view = sample();
    view.groups[0].addresses[3].kernel.clear();
    assert_eq!(
        first_line(&view),
        "www: 3 of 4 hosts, 1 of 4 addresses unserved (192.0.2.100), 1 moving; survives the loss of any one host: yes"
    );
}

#[test]
fn what_two_kernels_have_is_held_twice() {
    let mut view = whole();
    view.groups[0].addresses[0].kernel = vec!["10.0.0.11".parse().unwrap(), "10.0.0.14".parse().unwrap()];
    assert_eq!(first_line(&view), "www: 3 of 4 hosts, 1 held twice (192.0.2.11 by web1 and web4); survives the loss of any one host: yes");
    assert!(!is_whole(&view));
    assert!(render(&view, Terminal::Pipe, Detail::Each).contains("web1, web4 (kernel only)"));
}

#[test]
fn what_two_hosts_have_online_is_held_twice() {
    let mut view = whole();
    let serving = view.groups[0].hosts[0].serving[0].clone();
    view.groups[0].hosts[3].serving.push(serving);
    assert!(!is_whole(&view));
    view.groups[0].hosts[3].silent = true;
    assert!(is_whole(&view), "what a silent host said last does not count");
}

#[test]
fn a_group_that_cannot_move_anything_says_so() {
    let mut view = whole();
    let group = &mut view.groups[0];
    group.leader = None;
    group.frozen = true;
    group.hosts[0].settled = false;
    group.addresses.clear();
    assert_eq!(first_line(&view), "www: 3 of 4 hosts, no address known, no leader known, frozen, this host is still listening");
}

#[test]
fn hosts_of_the_same_name_are_told_apart_by_id() {
    let mut view = whole();
    for host in &mut view.groups[0].hosts {
        host.name = "localhost".to_owned();
    }
    assert!(render(&view, Terminal::Pipe, Detail::Each).contains("www, led by 10.0.0.11\n"));
}

#[test]
fn a_screen_shows_colours_around_words_and_a_pipe_does_not() {
    let coloured = render(&whole(), Terminal::Screen { colours: Colours::Shown, width: Some(120) }, Detail::Grouped);
    assert!(coloured.contains("\u{1b}[32mall served\u{1b}[0m"), "{coloured}");
    assert!(!render(&whole(), Terminal::Pipe, Detail::Each).contains('\u{1b}'));
}

#[test]
fn names_from_the_network_cannot_steer_the_terminal() {
    let mut view = sample();
    view.groups[0].hosts[1].name = "\u{1b}]0;owned\u{7}".to_owned();
    view.groups[0].addresses[0].reason = "\u{1b}[2J".to_owned();
    view.groups[0].problems.push("a\r\u{1b}[2Jb".to_owned());
    assert!(!render(&view, Terminal::Pipe, Detail::Each).contains('\u{1b}'));
    assert!(!render(&view, SCREEN, Detail::Grouped).contains('\u{1b}'));
}

/// 1,000 addresses on two hosts in turns, of which two are unserved.
fn crowd() -> View {
    let mut view = whole();
    let group = &mut view.groups[0];
    let pattern = group.addresses[0].clone();
    let hosts = [group.hosts[0].id, group.hosts[1].id];
    group.addresses = (0..1000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let host = hosts[usize::from(number >= 600)];
            let mut address = AddressView { address: [10, 9, high, low].into(), preferred_host: Some(host), ..pattern.clone() };
            address.served_by = vec![host];
            address.kernel = vec![host];
            if number == 7 || number == 99 {
                address.state = "unserved".to_owned();
                address.kernel.clear();
                address.served_by.clear();
            }
            address
        })
        .collect();
    for host in &mut group.hosts {
        host.serving.clear();
    }
    view
}

#[test]
fn a_thousand_addresses_fit_on_a_screen_with_the_unserved_first() {
    let text = render(&crowd(), SCREEN, Detail::Grouped);
    assert!(text.lines().count() < 30, "{text}");
    assert!(
        text.starts_with("www: 3 of 4 hosts, 2 of 1000 addresses unserved (10.9.0.7, 10.9.0.99); survives the loss of any one host: yes\n"),
        "{text}"
    );
    let table: Vec<_> = text.lines().skip_while(|line| !line.contains("SERVED BY")).skip(1).collect();
    assert!(table[0].contains("10.9.0.7, 10.9.0.99") && table[0].contains("unserved"), "{text}");
    assert!(text.contains("1000 addresses on 3 lines; --all shows each"), "{text}");
}

#[test]
fn a_thousand_addresses_have_a_line_each_in_a_pipe() {
    let text = render(&crowd(), Terminal::Pipe, Detail::Each);
    assert!(text.lines().any(|line| line.trim_start().starts_with("10.9.3.231/32") && line.contains("web2")), "{text}");
    assert!(text.lines().count() > 1000);
}
