-- Recognises OpenVPN connections by their first packet, and reassembles the TLS in their control packets.
--
-- Wireshark recognises OpenVPN only on its registered port, and reassembles TLS only from control packets of 100 bytes, as
-- sent by early versions.  A control packet is: opcode and key id (1 byte), session id (8), with tls-auth an HMAC, a packet
-- id (4) and a time (4), the count of acknowledged packet ids (1), these ids (4 each), the peer's session id (8) if there
-- are any, a packet id (4), and then bytes of the TLS stream; over TCP a length (2) precedes each packet.  (OpenVPN's
-- ssl_pkt.h and its Internet-Draft describe the protocol.)

local M = {}

local CLIENT_RESETS = { [0x38] = true, [0x50] = true } -- P_CONTROL_HARD_RESET_CLIENT_V2 and _V3, key id 0
local CONTROL = 4 -- P_CONTROL_V1
local PLAIN = 1 + 8 + 1 + 4
local AUTHENTICATION = { [PLAIN] = 0 } -- from the size of the first packet to what tls-auth adds to each
for _, hmac in ipairs({ 16, 20, 28, 32, 48, 64 }) do
    AUTHENTICATION[PLAIN + hmac + 8] = hmac + 8
end
local NOTHING_ACKNOWLEDGED = ("\0"):rep(5) -- no packet ids, and the packet id 0
local MOST_WAITING = 256
local LARGEST_RECORD = 5 + 18432

local function number(bytes, at, size)
    local value = 0
    for i = at, at + size - 1 do
        value = value * 256 + (bytes:byte(i) or 0)
    end
    return value
end

--- Return how many bytes tls-auth adds to a packet, if a datagram is the first packet of an OpenVPN client; else nil.
---@param bytes string
---@return integer|nil
function M.opens_datagram(bytes)
    local first = CLIENT_RESETS[bytes:byte(1)] and bytes:sub(-5) == NOTHING_ACKNOWLEDGED
    return first and AUTHENTICATION[#bytes] or nil
end

--- Return the same for the first bytes of a TCP stream.
---@param bytes string
---@return integer|nil
function M.opens_stream(bytes)
    return #bytes > 2 and number(bytes, 1, 2) == #bytes - 2 and M.opens_datagram(bytes:sub(3)) or nil
end

--- Parse a control packet; return nil for packets of other kinds, and for packets that are too short.
-- @return the key of its TLS stream within the connection and direction, its packet id, its bytes of TLS
function M.control(bytes, authentication)
    local head = bytes:byte(1)
    if not head or math.floor(head / 8) ~= CONTROL then
        return nil
    end
    local at = 10 + authentication
    local acknowledged = bytes:byte(at)
    if not acknowledged then
        return nil
    end
    at = at + 1 + 4 * acknowledged + (acknowledged > 0 and 8 or 0)
    if at + 4 > #bytes then
        return nil
    end
    return bytes:sub(1, 9), number(bytes, at, 4), bytes:sub(at + 4)
end

--- Return a reassembler for a TLS stream in numbered pieces, which may be duplicated or out of order.
-- Its method take returns the whole records that a piece completes, or an empty text.
function M.stream()
    local waiting, count, following, rest = {}, 0, 1, ""
    local stream = {}

    function stream.take(id, bytes)
        if id < following or waiting[id] or count >= MOST_WAITING then
            return ""
        end
        waiting[id], count = bytes, count + 1
        while waiting[following] do
            rest = rest .. waiting[following]
            waiting[following], count, following = nil, count - 1, following + 1
        end
        local done = 0
        while #rest >= done + 5 do
            local size = 5 + number(rest, done + 4, 2)
            if size > LARGEST_RECORD then
                rest, done = "", 0 -- this is not TLS, or it is encrypted
                break
            elseif #rest < done + size then
                break
            end
            done = done + size
        end
        local records = rest:sub(1, done)
        rest = rest:sub(done + 1)
        return records
    end

    return stream
end

return M
