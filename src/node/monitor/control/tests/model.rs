//! The seed's control thread, read aloud: slow, plain, and independent of the control step that is held against it.
//!
//! Seed 003, "the Control thread", gives four pieces of pseudo-code: the two nested loops that build the control tables, the
//! development of the states, the management of unserved addresses, and the settling of duplicates. Each is a function here,
//! its lines in the seed's order and quoted as `// seed:`. Where `behaviour.md` departs, the line carries the letter:
//!
//! | | departure from the seed |
//! |---|---|
//! | A | a draining host is on no list either, like a quiesced one; nor is one that is not settled, whose entry is not whole, or that replaces itself |
//! | B | what a host that is not ok serves counts as served: it is on its interface all the same |
//! | C | an expired address is asked back only once everybody knows the same addresses, only from those that are online, and not in a frozen group |
//! | D | who was told something and has not answered is waited for like one that is acquiring or releasing |
//! | E | of several ok hosts that prefer one address: the one that holds it (an active one first), else the lowest eligible, else the lowest |
//! | F | "not quiesced" of the preferred host means: it may take the address (A, G), and to be called home it must have been well for `failback` |
//! | G | a host that does not accept an address, or is in back-off for it, is on no list for it |
//! | H | the preferred host is injected only beside a single holder: several real holders are settled first, so that the address is never without one in between |
//! | I | a preferred host counts in a duplicate only if it serves the address and is active; a spare only if it may keep what it serves; else whoever may |
//! | J | a single holder that drains, that is not ok (`all_failed = "keep"`), or that does not accept the address any more, gives it up if somebody can take it at once |
//! | K | while the preferred host has just started, the address waits for it: neither assigned to another nor taken from its holder |
//! | L | while a live host's entry is not whole, it may hold what seems unserved: nothing is assigned, and nothing released in order to be assigned |
//! | M | a frozen group settles duplicates only |
//! | N | floating addresses that no live host prefers: spares and others are one list, those first whose `accept` names the address; the numbers of floating addresses on these hosts are as even as can be, and of all ways to get there one with the fewest moves is taken; what is held moves for it only while they are evened out |
//! | O | `assign`: instead of a random pick the fewest addresses or the least utilized |
//! | P | where the operator wants an address comes before everything else, if that host may take it; and what he has moved stays where it is until another reason moves it |

use std::fmt;

use super::super::{Decision, Evening, Outcome};
use super::{address, host};
use crate::types::host::HostId;
use crate::types::item::{Epoch, Item, ItemState, Reason};
use crate::types::message::CommandKind;
use crate::types::policy::Assign;

/// Hosts of the pool; host `n` has the `n`th lowest id.
pub(super) const HOSTS: usize = 3;

/// The highest epoch known of each address; the holders' own are below.
pub(super) const EPOCH_KNOWN: Epoch = Epoch(9);

/// Which addresses a host brings into the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prefers {
    /// It is a spare.
    Nothing,
    /// This address of the table.
    Address(usize),
    /// One that is not in the table: it is no spare, and at home nowhere in it.
    Another,
}

/// How a host holds an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// As the host information entry has it.
    pub(super) state: ItemState,
    /// A command was sent and not answered.
    pub(super) told: bool,
    /// The operator has moved it here.
    pub(super) pinned: bool,
}

/// Held, announced, and nothing is on its way.
pub(super) const ONLINE: Held = Held { state: ItemState::Online, told: false, pinned: false };

/// What stands between one host and one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    pub(super) held: Held,
    pub(super) accepts: bool,
    pub(super) back_off: bool,
}

/// A host, as its information entry describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Member {
    pub(super) silent: bool,
    pub(super) ok: bool,
    pub(super) quiesced: bool,
    pub(super) draining: bool,
    pub(super) settled: bool,
    /// It cannot be settled yet.
    pub(super) starting: bool,
    pub(super) whole: bool,
    pub(super) restarting: bool,
    pub(super) observer: bool,
    pub(super) prefers: Prefers,
    /// How many times as long as `failback` asks it has been well.
    pub(super) well: u32,
    pub(super) utilization: u64,
    pub(super) claims: [Claim; 2],
}

/// An address of the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Somebody prefers it or has preferred it.
    Plain,
    /// Listed as floating.
    Floating,
    /// Its orphan timer has ended, or it was never known.
    Expired,
}

/// All that one control step reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct World {
    pub(super) hosts: [Member; HOSTS],
    pub(super) addresses: [Kind; 2],
    /// How many of the two addresses there are.
    pub(super) count: usize,
    pub(super) assign: Assign,
    pub(super) failback_never: bool,
    pub(super) frozen: bool,
    pub(super) databases_agree: bool,
    pub(super) evening: Evening,
    /// Where the operator wants each address.
    pub(super) ordered: [Option<usize>; 2],
    /// How often `failback` is doubled for each.
    pub(super) doublings: [u32; 2],
}

impl Member {
    /// Its `accept` is not empty, and so names what it accepts.
    pub(super) fn has_list(&self) -> bool {
        self.claims.iter().any(|claim| !claim.accepts)
    }
}

/// For each floating address where it is to be; for others nothing.
pub(super) type Layout = [Option<usize>; 2];

/// What is to be said of one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Nothing,
    CannotAssign,
    /// One of these is told to acquire it.
    Acquire {
        one_of: Vec<usize>,
        reason: Reason,
    },
    /// All of these are told to release it.
    Release {
        from: Vec<usize>,
        reason: Reason,
    },
    /// One of these keeps it, the other holders are told to release it.
    Duplicate {
        one_of: Vec<usize>,
        holders: Vec<usize>,
    },
}

/// The seed's tables, as far as they concern one address.
struct Entry {
    spare_host_list: Vec<usize>,
    non_spare_eligible_list: Vec<usize>,
    preferred_id_address: Option<usize>,
    /// Who serves it.
    id_addresses: Vec<usize>,
    states: Vec<ItemState>,
    /// Who is to be told that it has expired.
    send_release: Vec<usize>,
}

impl World {
    fn heard(&self) -> Vec<usize> {
        // seed: step 606 "removes old, timed-out entries and silent host information"
        (0..HOSTS).filter(|number| !self.hosts[*number].silent).collect()
    }

    fn is_ok(&self, number: usize) -> bool {
        // seed: an observer will "simply identify itself as failed"
        self.hosts[number].ok && !self.hosts[number].observer
    }

    fn is_not_quiesced(&self, number: usize) -> bool {
        let host = &self.hosts[number];
        !host.quiesced && !host.draining && host.settled && host.whole && !host.restarting // A
    }

    fn may_keep(&self, number: usize) -> bool {
        self.is_ok(number) && !self.hosts[number].draining
    }

    fn served_by(&self, number: usize, address: usize) -> bool {
        self.hosts[number].claims[address].held.state.is_held()
    }

    /// Whose address it is.
    fn prefers(&self, number: usize, address: usize) -> bool {
        self.hosts[number].prefers == Prefers::Address(address)
    }

    pub(super) fn is_floating(&self, address: usize) -> bool {
        self.addresses[address] == Kind::Floating && !self.heard().iter().any(|number| self.prefers(*number, address))
    }

    /// Hosts that claim the address for themselves, if they are several.
    fn conflict(&self, address: usize) -> Vec<usize> {
        let claiming: Vec<usize> = self.heard().into_iter().filter(|number| self.prefers(*number, address)).collect();
        if claiming.len() > 1 && self.addresses[address] != Kind::Expired { claiming } else { Vec::new() }
    }

    /// The nested loops that build the control tables.
    fn control_table(&self, address: usize) -> Entry {
        let mut entry = Entry {
            spare_host_list: Vec::new(),
            non_spare_eligible_list: Vec::new(),
            preferred_id_address: None,
            id_addresses: Vec::new(),
            states: Vec::new(),
            send_release: Vec::new(),
        };
        let mut claiming = Vec::new();
        for number in self.heard() {
            let claim = self.hosts[number].claims[address];
            let takes_it = claim.accepts && !claim.back_off; // G
            // seed: if host is OK
            if self.is_ok(number) {
                // seed: if preferred service address = 0
                if self.hosts[number].prefers == Prefers::Nothing {
                    // seed: if not quiesced, Add Host to Spare_Host_List
                    if self.is_not_quiesced(number) && takes_it {
                        entry.spare_host_list.push(number);
                    }
                } else {
                    // seed: if not quiesced, Add Host to Non_Spare_Eligible_List
                    if self.is_not_quiesced(number) && takes_it {
                        entry.non_spare_eligible_list.push(number);
                    }
                }
                // seed: if preferred service address is not expired, set preferred id_address of entry
                if self.prefers(number, address) && self.addresses[address] != Kind::Expired {
                    claiming.push(number);
                }
            }
            // seed: for each service address in the list of service addresses currently being served (B)
            if self.served_by(number, address) {
                // seed: if service_address not expired
                if self.addresses[address] == Kind::Expired {
                    // seed: send release message to host to release expired service addresses
                    if is_at_rest(claim.held) && self.databases_agree() && !self.frozen {
                        entry.send_release.push(number); // C
                    }
                } else {
                    // seed: add id_address to id_address_list for service address, add state of service address
                    entry.id_addresses.push(number);
                    entry.states.push(if claim.held.told { ItemState::Releasing } else { claim.held.state }); // D
                }
            }
        }
        entry.preferred_id_address = self.of_several(&claiming, address);
        entry
    }

    fn databases_agree(&self) -> bool {
        self.databases_agree && self.heard().iter().all(|number| self.hosts[*number].whole)
    }

    /// Departure E.
    fn of_several(&self, claiming: &[usize], address: usize) -> Option<usize> {
        let is_active = |number: usize| !self.hosts[number].quiesced && !self.hosts[number].draining;
        for number in claiming {
            if self.served_by(*number, address) && is_active(*number) {
                return Some(*number);
            }
        }
        for number in claiming {
            if self.served_by(*number, address) {
                return Some(*number);
            }
        }
        for number in claiming {
            if self.is_not_quiesced(*number) {
                return Some(*number);
            }
        }
        claiming.first().copied()
    }

    /// What the control step has to say of one address. `counts`: addresses of each host, those that this step has already
    /// given out among them; they matter to `assign` other than random.
    fn verdict(&self, address: usize, counts: &[u32; HOSTS], layout: &Layout) -> Verdict {
        let mut entry = self.control_table(address);
        if self.addresses[address] == Kind::Expired {
            return if entry.send_release.is_empty() {
                Verdict::Nothing
            } else {
                Verdict::Release { from: entry.send_release, reason: Reason::Expired }
            };
        }
        // seed: if state including acquiring or releasing, continue
        if entry.states.contains(&ItemState::Acquiring) || entry.states.contains(&ItemState::Releasing) {
            return Verdict::Nothing;
        }
        // seed: if number of id_addresses = 0, then unserved
        if entry.id_addresses.is_empty() {
            return self.manage_unserved(&entry, address, counts, layout);
        }
        // seed: if has preferred id_address and service address not served by preferred id_address and preferred id_address has
        // not quiesced, then add preferred id_address to entry
        let served = entry.id_addresses.clone();
        let ordered = self.order(&entry, address);
        if let ([holder], Some(ordered)) = (served.as_slice(), ordered)
            && ordered != *holder
            && !self.frozen // M
            && self.is_all_known()
        // L
        {
            return Verdict::Release { from: served, reason: Reason::Moved }; // P
        }
        let is_pinned = ordered.is_some() || served.iter().any(|holder| self.hosts[*holder].claims[address].held.pinned);
        let mut injected = None;
        if let Some(preferred) = entry.preferred_id_address
            && !self.served_by(preferred, address)
            && self.is_wanted_home(&entry, preferred, address) // F
            && !is_pinned // P
            && served.len() == 1 // H
            && !self.frozen // M
            && self.is_all_known()
        // L
        {
            entry.id_addresses.push(preferred);
            injected = Some(preferred);
        }
        // seed: if number of id_addresses > 1, then duplicate exists
        if entry.id_addresses.len() > 1 {
            return match injected {
                Some(_) => Verdict::Release { from: served, reason: Reason::Home },
                None => self.duplicate(&entry, address),
            };
        }
        self.single_holder(&entry, address, served[0], layout) // J, N
    }

    fn is_on_a_list(entry: &Entry, number: usize) -> bool {
        entry.spare_host_list.contains(&number) || entry.non_spare_eligible_list.contains(&number)
    }

    /// Departure P: where the operator wants it, if that host serves it and may keep it, or may take it.
    fn order(&self, entry: &Entry, address: usize) -> Option<usize> {
        let to = self.ordered[address].filter(|to| !self.hosts[*to].silent)?;
        let keeps = self.served_by(to, address) && self.may_keep(to) && self.hosts[to].claims[address].accepts;
        (keeps || Self::is_on_a_list(entry, to)).then_some(to)
    }

    /// Departure F.
    fn is_wanted_home(&self, entry: &Entry, preferred: usize, address: usize) -> bool {
        Self::is_on_a_list(entry, preferred) && self.hosts[preferred].well >= 1 << self.doublings[address] && !self.failback_never
    }

    /// Departure L.
    fn is_all_known(&self) -> bool {
        self.heard().iter().all(|number| self.hosts[*number].whole)
    }

    /// Departure K.
    fn is_coming(&self, preferred: Option<usize>, address: usize) -> bool {
        let Some(preferred) = preferred else { return false };
        let host = &self.hosts[preferred];
        let claim = host.claims[address];
        let as_if_settled = !host.quiesced && !host.draining && host.whole && !host.restarting && claim.accepts && !claim.back_off;
        self.is_ok(preferred) && host.starting && !host.settled && as_if_settled
    }

    /// "Pseudocode for managing unserved states".
    fn manage_unserved(&self, entry: &Entry, address: usize, counts: &[u32; HOSTS], layout: &Layout) -> Verdict {
        if self.frozen || !self.is_all_known() {
            return Verdict::Nothing; // M, L
        }
        if let Some(ordered) = self.order(entry, address) {
            return Verdict::Acquire { one_of: vec![ordered], reason: Reason::Moved }; // P
        }
        if self.is_coming(entry.preferred_id_address, address) {
            return Verdict::Nothing; // K
        }
        // seed: if preferred_id_address != 0 and preferred host is not quiesced then
        if let Some(preferred) = entry.preferred_id_address
            && Self::is_on_a_list(entry, preferred)
        {
            // seed: choice = preferred_id_address
            return Verdict::Acquire { one_of: vec![preferred], reason: Reason::Home };
        }
        if self.is_floating(address) {
            return match layout[address] {
                Some(number) => Verdict::Acquire { one_of: vec![number], reason: Reason::Assigned }, // N
                None => Verdict::CannotAssign,
            };
        }
        // seed: else if (spare_host count > 0)
        if !entry.spare_host_list.is_empty() {
            // seed: choice = random pick from Spare_Host_List
            return self.pick(entry.spare_host_list.clone(), counts);
        }
        // seed: else if (Non_Spare_Eligible count > 0), choice = random pick from Non_Spare_Eligible_List
        // seed: else schedule cannot assign action
        self.pick(entry.non_spare_eligible_list.clone(), counts)
    }

    /// A pick from a list; from an empty one nobody can be assigned.
    fn pick(&self, list: Vec<usize>, counts: &[u32; HOSTS]) -> Verdict {
        let one_of = match self.assign {
            Assign::Random => list,
            Assign::Fair | Assign::LeastLoaded => self.least(list, counts), // O
        };
        if one_of.is_empty() { Verdict::CannotAssign } else { Verdict::Acquire { one_of, reason: Reason::Assigned } }
    }

    /// Departure O; the first of several least is the one with the lowest id.
    fn least(&self, list: Vec<usize>, counts: &[u32; HOSTS]) -> Vec<usize> {
        let fair = |number: &usize| (u64::from(counts[*number]), self.hosts[*number].utilization);
        let least_loaded = |number: &usize| (self.hosts[*number].utilization, u64::from(counts[*number]));
        let sorted = sorted(list).into_iter();
        let least = if self.assign == Assign::LeastLoaded { sorted.min_by_key(least_loaded) } else { sorted.min_by_key(fair) };
        least.into_iter().collect()
    }

    /// "A pseudocode representation for such a process": one of the duplicates stays.
    fn duplicate(&self, entry: &Entry, address: usize) -> Verdict {
        let holders = entry.id_addresses.clone();
        // seed: if preferred_id_address != 0 and preferred host not quiesced, choice = preferred_id_address
        if let Some(preferred) = entry.preferred_id_address
            && self.served_by(preferred, address) // I
            && !self.hosts[preferred].quiesced
            && !self.hosts[preferred].draining
        {
            return Verdict::Duplicate { one_of: vec![preferred], holders };
        }
        let may_keep: Vec<usize> = holders.iter().copied().filter(|number| self.may_keep(*number)).collect();
        let among = if may_keep.is_empty() { holders.clone() } else { may_keep }; // I
        // seed: if service address served by one or more from Spare_Host_List
        let spares: Vec<usize> = among.iter().copied().filter(|number| self.hosts[*number].prefers == Prefers::Nothing).collect();
        // seed: choice = random pick from Spare_Host_List serving Service_Address; else choice = random pick from id_addresses
        // seed: sendmsg to all others (except choice) id_addresses to release.
        Verdict::Duplicate { one_of: if spares.is_empty() { among } else { spares }, holders }
    }

    /// Departure J: beyond the seed, in which every host gives up by itself what it cannot serve. And N.
    fn single_holder(&self, entry: &Entry, address: usize, holder: usize, layout: &Layout) -> Verdict {
        if self.frozen || !self.is_all_known() {
            return Verdict::Nothing; // M, L
        }
        if self.may_keep(holder) && self.hosts[holder].claims[address].accepts {
            let is_evened_out = self.is_floating(address) && layout[address].is_some_and(|to| to != holder);
            return if is_evened_out { Verdict::Release { from: vec![holder], reason: Reason::Rebalanced } } else { Verdict::Nothing };
        }
        let others: Vec<usize> = (0..HOSTS).filter(|number| *number != holder && Self::is_on_a_list(entry, *number)).collect();
        if others.is_empty() || self.is_coming(self.home_beside(holder, address), address) {
            return Verdict::Nothing; // K
        }
        let reason = match (self.hosts[holder].draining, self.is_ok(holder)) {
            (true, true | false) => Reason::Drained,
            (false, false) => Reason::TestFailed,
            (false, true) => Reason::NotAccepted,
        };
        Verdict::Release { from: vec![holder], reason }
    }

    /// Whose the address is once `holder` has let go of it and takes it no more.
    fn home_beside(&self, holder: usize, address: usize) -> Option<usize> {
        let claiming = |number: &usize| *number != holder && self.prefers(*number, address) && self.is_ok(*number);
        self.of_several(&self.heard().into_iter().filter(claiming).collect::<Vec<_>>(), address)
    }

    /// Departure N: every way to place the floating addresses that is as good as can be.
    pub(super) fn layouts(&self) -> Vec<Layout> {
        let floating: Vec<usize> = (0..self.count).filter(|address| self.is_floating(*address)).collect();
        if floating.is_empty() || self.frozen || !self.is_all_known() {
            return vec![[None; 2]];
        }
        let is_doubled = floating.iter().any(|address| self.heard().iter().filter(|number| self.served_by(**number, *address)).count() > 1);
        let evening = if is_doubled { Evening::Off } else { self.evening };
        let mut layouts = vec![[None; 2]];
        for address in &floating {
            let places = self.places(*address, evening);
            let with = |layout: &Layout| -> Vec<Layout> {
                let mut all: Vec<Layout> = Vec::new();
                for place in &places {
                    let mut layout = *layout;
                    layout[*address] = *place;
                    all.push(layout);
                }
                all
            };
            layouts = layouts.iter().flat_map(with).collect();
        }
        let is_eligible = |number: usize| self.is_ok(number) && self.is_not_quiesced(number);
        let price = |layout: &Layout| -> (usize, usize) {
            // What is with a host that is given nothing does not count for the others.
            let count = |number: usize| layout.iter().filter(|place| **place == Some(number)).count();
            let evenness = (0..HOSTS).filter(|number| is_eligible(*number)).map(|number| count(number) * count(number)).sum();
            let moves = floating.iter().filter(|address| self.holder_of(**address).is_some_and(|holder| layout[**address] != Some(holder)));
            (evenness, moves.count())
        };
        let least = layouts.iter().map(price).min();
        layouts.retain(|layout| Some(price(layout)) == least);
        match (self.assign, floating.as_slice()) {
            (Assign::Fair | Assign::LeastLoaded, [address]) => {
                let places = layouts.iter().filter_map(|layout| layout[*address]).collect();
                let least = self.least(places, &self.counts()); // O
                layouts.retain(|layout| layout[*address].is_none_or(|place| least.contains(&place)));
                layouts
            }
            // Among several the order in which they are placed decides; that is not of interest here.
            (Assign::Random | Assign::Fair | Assign::LeastLoaded, _) => layouts,
        }
    }

    /// Where a floating address may be.
    fn places(&self, address: usize, evening: Evening) -> Vec<Option<usize>> {
        let entry = self.control_table(address);
        if let Some(ordered) = self.order(&entry, address) {
            return vec![Some(ordered)]; // P
        }
        let lists = || entry.spare_host_list.iter().chain(&entry.non_spare_eligible_list).copied();
        let named: Vec<usize> = lists().filter(|number| self.hosts[*number].has_list()).collect();
        let may: Vec<Option<usize>> = if named.is_empty() { lists().collect() } else { named }.into_iter().map(Some).collect();
        let or_nobody = |places: Vec<Option<usize>>| if places.is_empty() { vec![None] } else { places };
        let Some(holder) = self.holder_of(address) else { return or_nobody(may) };
        let held = self.hosts[holder].claims[address].held;
        let yields = match evening {
            Evening::Off => false,
            Evening::Due => !held.pinned,
            Evening::Asked => true,
        };
        let is_eligible = self.is_ok(holder) && self.is_not_quiesced(holder);
        if !yields || !is_at_rest(held) || !is_eligible {
            return vec![Some(holder)];
        }
        let others = may.into_iter().filter(|place| *place != Some(holder));
        others.chain([Some(holder)]).collect()
    }

    /// Who has a floating address, or will have it, and may keep it.
    fn holder_of(&self, address: usize) -> Option<usize> {
        let has = |number: &usize| match self.hosts[*number].claims[address].held.state {
            ItemState::Acquiring | ItemState::Online => true,
            ItemState::NotServing | ItemState::Releasing => false,
        };
        let holder = self.heard().into_iter().find(has)?;
        (self.may_keep(holder) && self.hosts[holder].claims[address].accepts).then_some(holder)
    }

    /// Addresses that each host claims to serve.
    pub(super) fn counts(&self) -> [u32; HOSTS] {
        let mut counts = [0; HOSTS];
        for number in self.heard() {
            counts[number] += (0..self.count).map(|address| u32::from(self.served_by(number, address))).sum::<u32>();
        }
        counts
    }
}

/// Nothing is on its way.
pub(super) fn is_at_rest(held: Held) -> bool {
    held.state == ItemState::Online && !held.told
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, host) in self.hosts.iter().enumerate() {
            let words = [
                (host.silent, "silent"),
                (host.observer, "observer"),
                (!host.ok, "not ok"),
                (host.quiesced, "quiesced"),
                (host.draining, "draining"),
                (host.starting, "starting"),
                (!host.settled, "unsettled"),
                (host.restarting, "restarting"),
                (!host.whole, "in transit"),
                (host.well == 0, "not well for long"),
                (host.well > 1, "well for very long"),
            ];
            let words: Vec<&str> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
            writeln!(f, "  {}: {words:?}, prefers {:?}, utilization {}", id(number), host.prefers, host.utilization)?;
            for address in 0..self.count {
                writeln!(f, "    {}: {:?}", item(address), host.claims[address])?;
            }
        }
        let Self { addresses, count, assign, failback_never, frozen, databases_agree, evening, ordered, doublings, hosts: _ } = self;
        let addresses = &addresses[..*count];
        writeln!(f, "  evening {evening:?}, ordered {ordered:?}, doublings {doublings:?}")?;
        write!(f, "  {addresses:?}, {assign:?}, failback never {failback_never}, frozen {frozen}, databases agree {databases_agree}")
    }
}

fn sorted(mut list: Vec<usize>) -> Vec<usize> {
    list.sort_unstable();
    list
}

/// The epoch with which a host holds whatever it holds: each host another one.
pub(super) fn epoch_of(number: usize) -> Epoch {
    Epoch(EPOCH_KNOWN.0 - 1 - number as u64)
}

pub(super) fn id(number: usize) -> HostId {
    host(u8::try_from(number).unwrap() + 1)
}

pub(super) fn item(number: usize) -> Item {
    address(u8::try_from(number).unwrap() + 1)
}

/// All that is to be said of one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Expected {
    /// Any of these is right.
    verdicts: Vec<Verdict>,
    /// Hosts that claim it for themselves, if they are several.
    conflict: Vec<usize>,
}

impl World {
    /// The verdict for each of these layouts, and whether a conflict is to be reported with it.
    pub(super) fn expected(&self, address: usize, counts: &[u32; HOSTS], layouts: &[Layout]) -> Expected {
        let verdicts = layouts.iter().map(|layout| self.verdict(address, counts, layout));
        Expected { verdicts: verdicts.collect(), conflict: self.conflict(address) }
    }
}

/// Holds what the control step has said of one address against what was expected. An error says what differs.
pub(super) fn judge(world: &World, number: usize, expected: &Expected, outcome: &Outcome) -> Result<(), String> {
    let item = item(number);
    let decisions: Vec<&Decision> = outcome.decisions.iter().filter(|decision| decision.item == item).collect();
    let agrees = expected.verdicts.iter().any(|verdict| is_said(verdict, &item, &decisions, outcome));
    let named = outcome.conflicts.get(&item);
    let is_named = named.is_some_and(|named| expected.conflict.iter().any(|number| id(*number) == *named));
    if agrees && (is_named || (named.is_none() && expected.conflict.is_empty())) {
        return Ok(());
    }
    Err(format!("{item}: the model says {expected:?}; control says {outcome:?}\nof {world}"))
}

/// Whether exactly these hosts are told to release what they hold, each by the epoch that it holds it with.
fn is_released(from: &[usize], reason: Reason, decisions: &[&Decision]) -> bool {
    let is_told = |number: &usize| {
        let told = |decision: &&&Decision| {
            (decision.kind, decision.to, decision.epoch, decision.reason) == (CommandKind::Release, id(*number), epoch_of(*number), reason)
        };
        decisions.iter().filter(told).count() == 1
    };
    from.len() == decisions.len() && from.iter().all(is_told)
}

fn is_said(verdict: &Verdict, item: &Item, decisions: &[&Decision], outcome: &Outcome) -> bool {
    let cannot_assign = outcome.cannot_assign.contains_key(item);
    let kept = outcome.duplicates.get(item);
    match verdict {
        Verdict::Nothing => decisions.is_empty() && !cannot_assign && kept.is_none(),
        Verdict::CannotAssign => decisions.is_empty() && cannot_assign && kept.is_none(),
        Verdict::Acquire { one_of, reason } => match decisions {
            [decision] => {
                (decision.kind, decision.epoch, decision.reason) == (CommandKind::Acquire, EPOCH_KNOWN.next(), *reason)
                    && one_of.iter().any(|number| id(*number) == decision.to)
                    && !cannot_assign
                    && kept.is_none()
            }
            _ => false,
        },
        Verdict::Release { from, reason } => is_released(from, *reason, decisions) && !cannot_assign && kept.is_none(),
        Verdict::Duplicate { one_of, holders } => {
            let keeps = one_of.iter().find(|number| kept == Some(&id(**number)));
            let others = |keeps: &usize| holders.iter().copied().filter(|number| number != keeps).collect::<Vec<_>>();
            keeps.is_some_and(|keeps| is_released(&others(keeps), Reason::Duplicate, decisions)) && !cannot_assign
        }
    }
}
