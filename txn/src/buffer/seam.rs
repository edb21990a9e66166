//! Places inside an operation where a test can stop it; nothing outside tests.

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Moment {
    /// A write has been decided and the table has not published it.
    Decided,
    /// A write can be seen; its room and the dirty mark have not been settled.
    Published,
    /// A reset has taken effect and the gate is open; what was there before has not been freed.
    Emptied,
    /// A savepoint was let go and the gate is left; what it alone held has not been freed.
    LetGo,
}

#[cfg(test)]
type Visitor = std::sync::Arc<dyn Fn(Moment) + Send + Sync>;

/// What a test wants to be told.
#[derive(Default)]
pub(super) struct Seam {
    #[cfg(test)]
    visitor: std::sync::Mutex<Option<Visitor>>,
}

impl Seam {
    #[cfg(not(test))]
    #[inline(always)]
    pub(super) fn reached(&self, _: Moment) {}

    /// Tells the visitor, which is not told again of what it does itself.
    #[cfg(test)]
    pub(super) fn reached(&self, moment: Moment) {
        let visitor = self.visitor.lock().unwrap().take();
        if let Some(visitor) = visitor {
            visitor(moment);
            self.visitor.lock().unwrap().get_or_insert(visitor);
        }
    }

    #[cfg(test)]
    pub(super) fn visit(&self, visitor: impl Fn(Moment) + Send + Sync + 'static) {
        *self.visitor.lock().unwrap() = Some(std::sync::Arc::new(visitor));
    }
}
