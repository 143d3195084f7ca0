//! Observers of ranges.

use core::mem::MaybeUninit;

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{Count, ViewInput};

use crate::arguments::{Codes, HandleInput, scheme, text, truth};
use crate::caller::{Caller, pick};

#[derive(Arbitrary, Debug)]
pub enum Call<'a> {
    Observer(&'a str, Codes, [u8; 3], Count, u8),
    Observe(HandleInput, ViewInput),
    Merge(HandleInput, HandleInput),
    ObserverRange(HandleInput),
}

pub fn call(caller: &mut Caller, call: &Call<'_>) {
    let (d, exec) = (caller.dimensions, caller.exec);
    let exec = &raw const exec;
    match *call {
        Call::Observer(method, codes, s, sample, skips) => {
            const METHODS: [&str; 6] = ["minmax", "percentile:99", "mse", "entropy", "std:2", "average"];
            let method = if method.len() < 6 { METHODS[method.len()] } else { method };
            let method = text(method);
            let (codes, sample, skips) = (codes.c(), sample.of(&d), truth(skips));
            make!(caller, observers, zp_observer_new(method.as_ptr().cast(), codes, scheme(s), sample, skips));
        }
        Call::Observe(observer, batch) => {
            let batch = batch.view(&d);
            let observer = pick(&caller.made.observers, observer, caller.other());
            call!(caller, zp_observer_observe(exec, observer, batch.read()));
        }
        Call::Merge(a, b) => {
            let [a, b] = [a, b].map(|which| pick(&caller.made.observers, which, caller.other()));
            call!(caller, zp_observer_merge(a, b));
        }
        Call::ObserverRange(observer) => {
            let (mut range, mut skipped) = (MaybeUninit::uninit(), 0);
            let observer = pick(&caller.made.observers, observer, caller.other());
            call!(caller, zp_observer_range(observer, range.as_mut_ptr(), &raw mut skipped));
        }
    }
}
