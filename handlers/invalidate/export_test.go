package invalidate

import "go.uber.org/zap"

// SetLogger sets where the handler logs.
func (h *Handler) SetLogger(logger *zap.Logger) { h.logger = logger }
