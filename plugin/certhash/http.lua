-- Tells which HTTP responses answer a known request.
--
-- A client that sends several requests without waiting for the responses (pipelining, RFC 9112, section 9.3.2) leaves
-- Wireshark unsure: it gives all of these responses the request that came last.  A cnf file under the name of another phone
-- would be worse than none.
--
--   local exchanges = http.new()
--   exchanges:request(stream, uris, frame)   the requests in a frame of a TCP connection
--   local doubtful, frame = exchanges:response(stream, count)
--                                            the final responses that end in a frame: the URIs in question, or nil and the
--                                            frame of the request if they answer the only one before them

local M = {}

local Exchanges = {}
Exchanges.__index = Exchanges

--- Return an empty set of connections.
function M.new()
    return setmetatable({ waiting = {} }, Exchanges)
end

--- Record the requests in a frame.
---@param stream integer
---@param uris string[]
---@param frame integer|nil
function Exchanges:request(stream, uris, frame)
    local open = self.waiting[stream] or { count = 0, uris = {}, mixed = false }
    for _, uri in ipairs(uris) do
        open.count = open.count + 1
        open.uris[#open.uris + 1] = uri
    end
    open.frame = frame
    self.waiting[stream] = open
end

--- Record the final responses that end in a frame; return the URIs in question, or nil and the frame of the request if
--- there is no doubt.
---@param stream integer
---@param count integer
---@return string[]|nil, integer|nil
function Exchanges:response(stream, count)
    local open = self.waiting[stream]
    if not open then
        return count > 1 and {} or nil  -- the requests are not in the capture
    elseif count == 1 and open.count == 1 and not open.mixed then
        self.waiting[stream] = nil
        return nil, open.frame
    end
    local uris = open.uris
    open.uris, open.mixed = {}, true
    return uris
end

return M
