//! What a reload cannot change: what the process was started on.
//!
//! Listeners are bound, threads run, the journal is open, and what caps have counted lies in windows of one calendar.

use super::parts::Config;

impl Config {
    /// Puts back what only a start can change, as `running` has it. Gives the keys whose new values have to wait.
    #[must_use]
    pub fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let mut waiting = Vec::new();
        let mut keep = |key: &'static str, differs: bool| {
            if differs {
                waiting.push(key);
            }
        };
        let (new, old) = (&mut self.server, &running.server);
        keep("server.listen", new.listen != old.listen);
        keep("server.socket_mode", new.socket_mode != old.socket_mode);
        keep("server.admin_listen", new.admin_listen != old.admin_listen);
        keep("server.threads", new.threads != old.threads);
        // One that was made stays valid; one that was configured is not taken away from whoever uses it.
        keep("server.admin_token", new.admin_token.is_none() && old.admin_token.is_some());
        keep("server.tls", new.tls.is_some() != old.tls.is_some());
        let (store, kept) = (&self.store, &running.store);
        keep("store.path", store.path != kept.path);
        keep("store.lock_wait_s", store.lock_wait != kept.lock_wait);
        keep("store.sync_interval_ms", store.sync_interval != kept.sync_interval);
        keep("store.segment_mib", store.segment_bytes != kept.segment_bytes);
        keep("store.unsynced_records_max", store.unsynced_records_max != kept.unsynced_records_max);
        keep("store.retention_days", store.retention_days != kept.retention_days);
        keep("money.time_zone", self.money.time_zone != running.money.time_zone);
        let (log, written) = (&self.log, &running.log);
        keep("log.format", log.format != written.format);
        keep("log.level", log.level != written.level);
        keep("log.path", log.path != written.path);
        keep("cache.disk_mib", self.cache.disk_bytes != running.cache.disk_bytes);
        self.cache.disk_bytes = running.cache.disk_bytes;
        new.listen.clone_from(&old.listen);
        (new.socket_mode, new.admin_listen, new.threads) = (old.socket_mode, old.admin_listen, old.threads);
        if new.admin_token.is_none() {
            new.admin_token.clone_from(&old.admin_token);
        }
        if new.tls.is_some() != old.tls.is_some() {
            new.tls.clone_from(&old.tls);
        }
        self.store.clone_from(&running.store);
        self.money.time_zone.clone_from(&running.money.time_zone);
        self.log.clone_from(&running.log);
        // What the store says is no policy, and no reload changes it.
        self.ring.clone_from(&running.ring);
        waiting
    }
}
