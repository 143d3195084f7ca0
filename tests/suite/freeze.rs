//! Observers that are frozen.

use zeropoint::calibrate::{Calibrator, Ema, Freeze, Method, MinMax, Observer};
use zeropoint::{CodeRange, Exec, Granularity, Range, Scheme};

/// While it is frozen, an observer takes nothing from a batch, not even an error.
#[test]
fn nothing_is_observed() {
    let exec = Exec::best().unwrap();
    let batches = [vec![-1.0, 2.0], vec![-5.0, 1.0], vec![-0.5, 9.0]];
    let mut observers: Vec<Calibrator> = vec![
        Ema::new(0.9).unwrap().into(),
        Ema::from_first_batch(0.1).unwrap().into(),
        MinMax::new(Granularity::Tensor).into(),
    ];
    observers.push(Method::Std(3.0).observer(CodeRange::signed(8).unwrap(), Scheme::SYMMETRIC, 2).unwrap());
    for observer in observers {
        let mut freeze = Freeze::new(observer.clone());
        assert!(freeze.ranges().is_err());
        freeze.observe(exec, &batches[0]).unwrap();
        let first = freeze.ranges().unwrap();
        freeze.freeze();
        assert!(freeze.is_frozen());
        freeze.observe(exec, &batches[1]).unwrap();
        freeze.observe(exec, &[f32::NAN]).unwrap();
        assert_eq!(freeze.ranges().unwrap(), first, "{observer:?}");
        freeze.thaw();
        freeze.observe(exec, &batches[2]).unwrap();
        let mut without = observer.clone();
        without.observe(exec, &batches[0]).unwrap();
        without.observe(exec, &batches[2]).unwrap();
        assert_eq!(freeze.ranges().unwrap(), without.ranges().unwrap(), "{observer:?}");
    }
}

/// A frozen observer takes nothing from another one either; what it saw itself, others take.
#[test]
fn merges() {
    let exec = Exec::best().unwrap();
    let seen = |batch: &[f32]| {
        let mut observer = Freeze::new(MinMax::new(Granularity::Tensor));
        observer.observe(exec, batch).unwrap();
        observer.freeze();
        observer
    };
    let (mut observer, other) = (seen(&[-1.0, 2.0]), seen(&[-5.0, 1.0]));
    observer.merge(&other).unwrap();
    assert_eq!(observer.range(), Ok(Range { min: -1.0, max: 2.0 }));
    observer.thaw();
    observer.merge(&other).unwrap();
    assert_eq!(observer.range(), Ok(Range { min: -5.0, max: 2.0 }));
}
