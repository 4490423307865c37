-- Assembles TLS handshakes from the frames of a conversation: client, server, and the requested server name.  Other
-- modules store what else belongs to a handshake in it.
--
--   local tracker = handshakes.new()
--   local handshake, role = tracker:observe(source, target, types, server_name, random)
--
-- Source and target are a frame's endpoints, as strings from handshakes.endpoint; types are the handshake types in the
-- frame (1 ClientHello, 2 ServerHello, 11 Certificate, ...), random is the random value of a hello in it, and frames
-- arrive in the order of the capture.  A handshake is { client =, server =, server_name = }; unknown ends are nil.  The
-- role is the sender's: "client", "server", or nil.
--
-- A capture may have tens of thousands of handshakes, so each uses few and small objects.

local M = {}

-- Handshake types (RFC 5246, section 7.4; RFC 6347; RFC 8446, section 4) that only a server sends: HelloRequest,
-- ServerHello, HelloVerifyRequest, HelloRetryRequest, EncryptedExtensions, ServerKeyExchange, CertificateRequest,
-- ServerHelloDone, CertificateStatus.
local SERVER_ONLY = {
    [0] = true, [2] = true, [3] = true, [6] = true, [8] = true, [12] = true, [13] = true, [14] = true, [22] = true,
}
local CLIENT_HELLO, SERVER_HELLO, CLIENT_KEY_EXCHANGE = 1, 2, 16

local Tracker = {}
Tracker.__index = Tracker

--- Return a new tracker.
function M.new()
    return setmetatable({ current = {} }, Tracker)
end

--- Return an endpoint as one string, from the bytes of the address and the port (0 for none).
---@param address string bytes
---@param port integer
---@return string
function M.endpoint(address, port)
    return address .. string.char(math.floor(port / 256), port % 256)
end

--- Return the bytes of the address and the port (nil for none) of an endpoint.
---@param endpoint string
---@return string address bytes
---@return integer|nil port
function M.split(endpoint)
    local high, low = endpoint:byte(-2, -1)
    local port = high * 256 + low
    return endpoint:sub(1, -3), port > 0 and port or nil
end

local function key(one, other)
    return one < other and one .. other or other .. one
end

-- Return the sender's role if the conversation began before the capture; the lower port is the server's.
local function guess(source, target, server_only, client_only)
    if server_only then
        return "server"
    elseif client_only then
        return "client"
    end
    local _, from = M.split(source)
    local _, to = M.split(target)
    if from and to and from ~= to then
        return from < to and "server" or "client"
    end
    return nil
end

local function role_of(endpoint, handshake)
    if handshake.client then
        return handshake.client == endpoint and "client" or "server"
    end
    return nil
end

--- Return the handshake of a frame, and its sender's role.
function Tracker:observe(source, target, types, server_name, random)
    local conversation = key(source, target)
    local handshake = self.current[conversation]
    local hello, answer, server_only, client_only = false, false, false, false
    for _, type in ipairs(types) do
        hello = hello or type == CLIENT_HELLO
        answer = answer or type == SERVER_HELLO
        server_only = server_only or SERVER_ONLY[type]
        client_only = client_only or type == CLIENT_HELLO or type == CLIENT_KEY_EXCHANGE
    end
    -- A ClientHello opens a handshake, unless it repeats the previous one: DTLS sends it again with a cookie, and TLS 1.3
    -- after a HelloRetryRequest.  A second ServerHello also opens one if the ClientHello is missing.  After packet loss,
    -- DTLS retransmits either with the same random value (RFC 6347, section 4.2.4).
    local opens = hello and handshake
        and (handshake.client ~= source or handshake.answered and (not random or handshake.asked ~= random))
    local again = answer and handshake and handshake.answered and (not random or handshake.answered ~= random)
    if not handshake or opens or again then
        handshake = { server_name = again and handshake.server_name or nil }
        self.current[conversation] = handshake
        local role = guess(source, target, server_only, client_only)
        if role == "client" then
            handshake.client, handshake.server = source, target
        elseif role == "server" then
            handshake.client, handshake.server = target, source
        end
    end
    if answer then
        handshake.answered = random or true
    end
    if hello then
        handshake.asked = random
        handshake.server_name = server_name  -- a repeated ClientHello asks for the same name
    end
    return handshake, role_of(source, handshake)
end

--- Return the handshake between two endpoints and the role of the first one, or nil.
function Tracker:find(source, target)
    local handshake = self.current[key(source, target)]
    if handshake then
        return handshake, role_of(source, handshake)
    end
    return nil
end

return M
