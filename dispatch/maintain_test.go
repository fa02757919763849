package dispatch

import (
	"testing"
	"time"
)

func TestMaintain(t *testing.T) {
	t.Parallel()

	t.Run("gives a delivery without a job a new one", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, nil)
		b.publish(b.event(nil), b.event(nil))
		b.exec(`UPDATE deliveries SET created_at = now() - interval '1 hour'`)
		lost := b.all()[0]
		b.exec(`DELETE FROM river_job WHERE id = ?`, *lost.JobID)
		for range 2 { // the second time there is nothing to do
			if err := b.Maintain(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.count(`SELECT count(*) FROM river_job`); n != 2 {
			t.Fatalf("%d jobs", n)
		}
		b.work()
		b.ended(2)
	})

	t.Run("makes the coming months of the attempt log, takes in strays and drops what is old", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		future := time.Date(2041, 5, 31, 12, 0, 0, 0, time.UTC)
		b.exec(`INSERT INTO delivery_attempts (delivery_id, number, started_at, duration_millis) VALUES ('a', 1, ?, 1), ('b', 1, ?, 1)`, future, future.AddDate(0, 0, -40))
		if n := b.count(`SELECT count(*) FROM delivery_attempts_default`); n != 2 {
			t.Fatalf("%d strays", n)
		}
		for range 2 {
			if err := b.Maintain(t.Context(), future); err != nil {
				t.Fatal(err)
			}
		}
		names := `SELECT count(*) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'delivery_attempts'::regclass`
		if n := b.count(names); n != 4 { // the default and three months
			t.Errorf("%d partitions", n)
		}
		if n := b.count(`SELECT count(*) FROM delivery_attempts_204105 WHERE delivery_id = 'a'`); n != 1 {
			t.Errorf("the stray of this month is in its partition %d times", n)
		}
		if n := b.count(`SELECT count(*) FROM delivery_attempts`); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}
