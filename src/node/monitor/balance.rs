//! Floating addresses over hosts: the numbers as even as can be, and of all even layouts one that moves the fewest.
//!
//! ```text
//!   hosts are points; an address on A that B may have is a way from A to B; its price is the moves that it adds (or saves,
//!   when it brings an address back to where it is held)
//!        A(4) ──> B(3) ──> C(1)      a way from a fuller host to an emptier one, however long, takes one from the first and
//!                                    adds one to the last; the hosts between stay as they are
//! ```
//!
//! Numbers are compared by the sum of their squares, which is least where they differ by at most one among all hosts that
//! share addresses, as far as `accept` lists allow that at all. As long as the cheapest way is taken each time, no cheaper
//! layout with the same numbers exists (successive shortest paths). A pure function; called by `control.rs`.

use std::cmp::Reverse;

/// One floating address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Floating {
    pub(crate) place: Place,
    /// The hosts that it may come to, by number.
    pub(crate) may: Vec<usize>,
}

/// Where an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// There, and not to be moved.
    Fixed(usize),
    /// There, and may be moved.
    Held(usize),
    /// Nobody has it.
    Free,
}

/// The host for each address; `None`: there is none that it may come to. `pick` chooses among hosts that are equally good
/// for an address that nobody has.
#[must_use]
pub(crate) fn spread(hosts: usize, addresses: &[Floating], mut pick: impl FnMut(usize, &[usize]) -> Option<usize>) -> Vec<Option<usize>> {
    let mut layout = Layout::new(hosts, addresses);
    layout.even_out();
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| address.place == Place::Free) {
        match layout.equally_good(address) {
            Equals::Direct(list) => {
                if let Some(host) = pick(index, &list) {
                    layout.put(index, host);
                }
            }
            Equals::Through(list) => {
                if let Some(first) = pick(index, &list) {
                    layout.put_through(index, first);
                }
            }
        }
    }
    layout.at
}

/// The cheapest address to be moved from one host to another: what it adds to the moves, and which.
type Shift = Option<(i64, usize)>;

/// The cheapest ways from where one starts, by host: the price, and the host before it.
type Ways = Vec<Option<(i64, Option<usize>)>>;

/// What a change adds to the sum of squares, then what it adds to the moves.
type Price = (i64, i64);

/// Hosts that are equally good for an address.
enum Equals {
    /// It stays where it is put.
    Direct(Vec<usize>),
    /// Others move on, so that the host at the end of a way gets one more.
    Through(Vec<usize>),
}

struct Layout<'a> {
    addresses: &'a [Floating],
    at: Vec<Option<usize>>,
    counts: Vec<i64>,
    /// By host that gives and host that takes.
    shifts: Vec<Vec<Shift>>,
    /// Some address that was held is elsewhere.
    moved: bool,
}

impl<'a> Layout<'a> {
    fn new(hosts: usize, addresses: &'a [Floating]) -> Self {
        let mut counts = vec![0; hosts];
        let at: Vec<Option<usize>> = addresses.iter().map(|address| address.place.host()).collect();
        for host in at.iter().flatten() {
            counts[*host] += 1;
        }
        let mut layout = Self { addresses, at, counts, shifts: vec![Vec::new(); hosts], moved: false };
        (0..hosts).for_each(|host| layout.find_shifts(host));
        layout
    }

    /// Moves what is held until nothing can be gained.
    fn even_out(&mut self) {
        if !self.addresses.iter().any(|address| matches!(address.place, Place::Held(_))) {
            return;
        }
        while let Some((ways, to)) = self.improvement() {
            self.walk(&ways, to);
        }
    }

    /// A way that makes the layout better, with its end: from the fullest host that has one, to the end that gains most.
    fn improvement(&self) -> Option<(Ways, usize)> {
        let (least, most) = (self.counts.iter().min()?, self.counts.iter().max()?);
        if most - least <= 1 && !self.moved {
            return None;
        }
        let mut sources: Vec<usize> = (0..self.counts.len()).collect();
        sources.sort_by_key(|host| (Reverse(self.counts[*host]), *host));
        sources.into_iter().find_map(|from| {
            let ways = self.ways(&[from]);
            let saved = 2 * self.counts[from] - 1;
            let ends = (0..self.counts.len()).filter(|to| *to != from);
            let priced = ends.filter_map(|to| ways[to].map(|(moves, _)| ((2 * self.counts[to] + 1 - saved, moves), to)));
            let (price, to) = priced.min()?;
            (price < (0, 0)).then_some((ways, to))
        })
    }

    /// The hosts that an address may come to directly, if none is cheaper through others.
    fn equally_good(&self, address: &Floating) -> Equals {
        let fewest = address.may.iter().map(|host| self.counts[*host]).min().unwrap_or_default();
        let direct = Equals::Direct(address.may.iter().copied().filter(|host| self.counts[*host] == fewest).collect());
        if !self.moved && self.counts.iter().all(|count| *count >= fewest) {
            return direct;
        }
        let price_from = |first: &[usize]| self.best_end(&self.ways(first)).map(|(price, _)| price);
        let least = price_from(&address.may);
        if least.is_none_or(|least| least == (2 * fewest + 1, 0)) {
            return direct;
        }
        Equals::Through(address.may.iter().copied().filter(|first| price_from(&[*first]) == least).collect())
    }

    /// The end that costs least to have one more.
    fn best_end(&self, ways: &Ways) -> Option<(Price, usize)> {
        let priced = ways.iter().enumerate().filter_map(|(to, way)| way.map(|(moves, _)| ((2 * self.counts[to] + 1, moves), to)));
        priced.min()
    }

    fn put_through(&mut self, index: usize, first: usize) {
        let ways = self.ways(&[first]);
        if let Some((_, to)) = self.best_end(&ways) {
            self.walk(&ways, to);
        }
        self.put(index, first);
    }

    fn put(&mut self, index: usize, host: usize) {
        self.at[index] = Some(host);
        self.counts[host] += 1;
        self.find_shifts(host);
    }

    /// Moves one address along each step of the way to `to`.
    fn walk(&mut self, ways: &Ways, mut to: usize) {
        let mut passed = vec![to];
        while let Some((_, Some(from))) = ways[to] {
            if let Some((_, index)) = self.shifts[from][to] {
                self.at[index] = Some(to);
                self.counts[from] -= 1;
                self.counts[to] += 1;
            }
            passed.push(from);
            to = from;
        }
        passed.into_iter().for_each(|host| self.find_shifts(host));
        let is_moved = |(address, at): (&Floating, &Option<usize>)| matches!(address.place, Place::Held(origin) if *at != Some(origin));
        self.moved = self.addresses.iter().zip(&self.at).any(is_moved);
    }

    /// For each other host the address that is moved there from `from` at the least price; of equals the first.
    fn find_shifts(&mut self, from: usize) {
        let mut row: Vec<Shift> = vec![None; self.counts.len()];
        for (index, address) in self.addresses.iter().enumerate().filter(|(index, _)| self.at[*index] == Some(from)) {
            let origin = match address.place {
                Place::Fixed(_) => continue,
                Place::Held(origin) => Some(origin),
                Place::Free => None,
            };
            let away = |host: usize| i64::from(origin.is_some_and(|origin| origin != host));
            // Back to where it is held is always allowed.
            for to in address.may.iter().copied().chain(origin).filter(|to| *to != from) {
                let price = away(to) - away(from);
                if row[to].is_none_or(|(known, _)| price < known) {
                    row[to] = Some((price, index));
                }
            }
        }
        self.shifts[from] = row;
    }

    /// The cheapest ways from `starts` to every host (Bellman and Ford: prices may be negative, but no circle is).
    fn ways(&self, starts: &[usize]) -> Ways {
        let mut ways: Ways = vec![None; self.shifts.len()];
        for start in starts {
            ways[*start] = Some((0, None));
        }
        for _ in 0..self.shifts.len() {
            let mut changed = false;
            for (from, row) in self.shifts.iter().enumerate() {
                let Some((price, _)) = ways[from] else { continue };
                for (to, shift) in row.iter().enumerate() {
                    let Some((step, _)) = shift else { continue };
                    if ways[to].is_none_or(|(known, _)| price + step < known) {
                        ways[to] = Some((price + step, Some(from)));
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        ways
    }
}

impl Place {
    fn host(self) -> Option<usize> {
        match self {
            Self::Fixed(host) | Self::Held(host) => Some(host),
            Self::Free => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_all(hosts: usize, place: Place) -> Floating {
        Floating { place, may: (0..hosts).collect() }
    }

    /// Where `spread` puts them, the lowest host winning ties.
    fn layout(hosts: usize, addresses: &[Floating]) -> Vec<Option<usize>> {
        spread(hosts, addresses, |_, list| list.first().copied())
    }

    fn price(hosts: usize, addresses: &[Floating], at: &[Option<usize>]) -> (usize, usize) {
        let mut counts = vec![0; hosts];
        at.iter().flatten().for_each(|host| counts[*host] += 1);
        let moves = addresses.iter().zip(at).filter(|(address, at)| matches!(address.place, Place::Held(host) if **at != Some(host)));
        (counts.iter().map(|count| count * count).sum(), moves.count())
    }

    /// The least price of all layouts, found by trying each.
    fn least(hosts: usize, addresses: &[Floating], at: &mut Vec<Option<usize>>) -> (usize, usize) {
        let Some(address) = addresses.get(at.len()) else { return price(hosts, addresses, at) };
        let mut choices: Vec<Option<usize>> = match address.place {
            Place::Fixed(host) => vec![Some(host)],
            Place::Held(host) => address.may.iter().copied().filter(|may| *may != host).chain([host]).map(Some).collect(),
            Place::Free => address.may.iter().copied().map(Some).collect(),
        };
        if choices.is_empty() {
            choices.push(None);
        }
        let mut prices = Vec::new();
        for choice in choices {
            at.push(choice);
            prices.push(least(hosts, addresses, at));
            at.pop();
        }
        prices.into_iter().min().unwrap()
    }

    #[test]
    fn no_layout_is_more_even_and_no_layout_as_even_moves_less() {
        let mut random: u64 = 1;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..3000 {
            let hosts = 2 + draw(3) as usize;
            let addresses: Vec<Floating> = (0..1 + draw(5))
                .map(|_| {
                    let place = match draw(4) {
                        0 => Place::Free,
                        1 => Place::Fixed(draw(hosts as u64) as usize),
                        // Often on the first host, so that there is something to even out.
                        _ => Place::Held((draw(hosts as u64) * draw(2)) as usize),
                    };
                    Floating { place, may: (0..hosts).filter(|_| draw(3) > 0).collect() }
                })
                .collect();
            let at = layout(hosts, &addresses);
            for (address, at) in addresses.iter().zip(&at) {
                let allowed = at.map_or(address.may.is_empty(), |at| address.may.contains(&at) || address.place.host() == Some(at));
                assert!(allowed, "{addresses:?} to {at:?}");
            }
            assert_eq!(price(hosts, &addresses, &at), least(hosts, &addresses, &mut Vec::new()), "{addresses:?} to {at:?}");
        }
    }

    #[test]
    fn what_is_even_stays() {
        let held = [0, 0, 1, 1, 2].map(|host| may_all(3, Place::Held(host)));
        assert_eq!(layout(3, &held), [0, 0, 1, 1, 2].map(Some));
    }

    #[test]
    fn an_address_goes_where_fewest_are_and_the_caller_picks_among_equals() {
        let addresses = [may_all(3, Place::Fixed(0)), may_all(3, Place::Free), may_all(3, Place::Free)];
        let mut asked = Vec::new();
        let at = spread(3, &addresses, |index, list| {
            asked.push((index, list.to_vec()));
            list.last().copied()
        });
        assert_eq!(at, [Some(0), Some(2), Some(1)]);
        assert_eq!(asked, [(1, vec![1, 2]), (2, vec![1])]);
    }

    #[test]
    fn a_full_host_is_relieved_through_one_between() {
        // The first host shares addresses with the second only, and that one with the third.
        let on = |host, may: &[usize]| Floating { place: Place::Held(host), may: may.to_vec() };
        let addresses = [on(0, &[0, 1]), on(0, &[0, 1]), on(1, &[1, 2])];
        assert_eq!(layout(3, &addresses), [1, 0, 2].map(Some));
    }

    #[test]
    fn a_thousand_addresses_find_their_places_among_a_hundred_hosts() {
        let free: Vec<Floating> = (0..1000).map(|_| may_all(100, Place::Free)).collect();
        let held: Vec<Floating> = (0..1000).map(|index| may_all(100, Place::Held(index % 50))).collect();
        for (addresses, moves) in [(free, 0), (held, 500)] {
            let at = layout(100, &addresses);
            assert_eq!(price(100, &addresses, &at), (100 * 10 * 10, moves));
        }
    }
}
