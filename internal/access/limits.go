package access

// Limits are figures that replace those of a plan. A zero figure is the plan's.
type Limits struct {
	PerMinute int64 `json:"perMinute,omitempty"`
	PerHour   int64 `json:"perHour,omitempty"`
	Burst     int64 `json:"burst,omitempty"`
}
